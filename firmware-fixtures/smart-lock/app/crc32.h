#ifndef CRC32_H
#define CRC32_H

#include <stdint.h>

/* CRC-32 with the polynomial of IEEE 802.3 (reflected, 0xEDB88320), started from `seed` and inverted at the end. */
uint32_t crc32(uint32_t seed, const uint8_t *data, uint32_t size);

#endif
