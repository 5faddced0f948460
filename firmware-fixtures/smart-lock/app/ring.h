/* Records that outlive a restart: areas of two flash pages each, written round and round. */
#ifndef RING_H
#define RING_H

#include <stdint.h>

#define RING_WORDS 4u

struct record {
    uint32_t stamp; /* kind << 24 | seconds since the start, which end at 0xFFFFFF */
    uint32_t data[RING_WORDS];
    uint32_t crc;
};

#define RING_KIND(record) ((record)->stamp >> 24)
#define RING_SECONDS(record) ((record)->stamp & 0xFFFFFFu)

/* Erases each page of the area that holds anything but records written since the last factory reset. To be called when the store is
 * loaded, and again when a factory reset is permanent. */
void ring_tidy(uint32_t area);
/* Appends a record with the time of now; kinds start at 1. A cut leaves the records before, with or without the new one. At least the
 * latest 42 are kept, less what cuts have torn. */
void ring_append(uint32_t area, uint32_t kind, const uint32_t data[RING_WORDS]);
/* The record after `last`, the oldest for NULL; NULL at the end. */
const struct record *ring_next(uint32_t area, const struct record *last);

#endif
