#ifndef UPDATE_H
#define UPDATE_H

#include <stdint.h>

/* Receives `length` bytes of an image container into slot B, asks the bootloader to judge it, and resets. Returns only when the transfer
 * was refused (the reason is printed). Slot A and the boot state are untouched until the last byte is in place. */
void update_receive(uint32_t length);

#endif
