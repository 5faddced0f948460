#ifndef SHA256_H
#define SHA256_H

#include <stdint.h>

/* SHA-256 (FIPS 180-4) of a message of at most 55 bytes, which is one block. */
void sha256_short(const uint8_t *message, uint32_t size, uint8_t digest[32]);

#endif
