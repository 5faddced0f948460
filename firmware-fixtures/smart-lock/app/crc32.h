#ifndef CRC32_H
#define CRC32_H

#include <stdint.h>

/* CRC-32 as in IEEE 802.3 (reflected, 0xEDB88320, all ones before and after). */
uint32_t crc32(const uint8_t *data, uint32_t size);

#endif
