/* Who owns which page of the flash, the image header, and the RAM words handed from bootloader to application. */
#ifndef LAYOUT_H
#define LAYOUT_H

#include <stdint.h>

#define PAGE_SIZE 0x400u
#define SLOT_A 0x06000u
#define SLOT_B 0x10000u
#define SLOT_SIZE 0x0A000u
#define SCRATCH_PAGE 0x1A000u
#define BOOTLOG_PAGE 0x1A400u /* two pages */
#define STORE_PAGE 0x1AC00u   /* two pages */
#define EVENT_PAGE 0x1B400u   /* two pages */
#define DUMP_PAGE 0x1BC00u    /* two pages */
#define FLASH_END 0x40000u

#define IMAGE_MAGIC 0x314C4248u /* "HBL1" */
#define IMAGE_HEADER_SIZE 64u
#define IMAGE_SIGNATURE_SIZE 64u
#define IMAGE_LOAD (SLOT_A + IMAGE_HEADER_SIZE)
#define IMAGE_MIN_PAYLOAD 0xC0u /* a full vector table */
#define IMAGE_MAX_PAYLOAD (SLOT_SIZE - IMAGE_HEADER_SIZE - IMAGE_SIGNATURE_SIZE)
#define PRODUCT_ID 0x10C70001u

struct image_header {
    uint32_t magic;
    uint32_t header_size;
    uint32_t payload_size;
    uint32_t load_address;
    uint32_t product;
    uint32_t version; /* major << 16 | minor << 8 | patch */
    uint32_t counter;
    uint32_t flags;
    uint32_t reserved[8];
};

/* First words of RAM. The bootloader's exception entries jump through `vectors`: a Cortex-M0 has no VTOR. */
struct handover {
    const uint32_t *vectors;
    uint32_t reset_reason;
};
#define HANDOVER ((volatile struct handover *)0x20000000u)

enum reset_reason { RESET_POWER_ON, RESET_PIN, RESET_WATCHDOG, RESET_SOFT, RESET_LOCKUP, RESET_UNKNOWN };

#endif
