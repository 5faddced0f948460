/* Judging what lies in a slot. */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdint.h>

/* NULL when the slot holds a genuine image for this product that is not older than the counter, else the reason. `length` is the number
 * of bytes that were staged, or 0 when unknown. Costs one signature check when the header is plausible. */
const char *image_refusal(uint32_t slot, uint32_t length);
/* How many pages the container in the slot covers, by its header alone; 0 when that is implausible. */
uint32_t image_pages(uint32_t slot);

#endif
