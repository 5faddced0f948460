/* The boot state: a log of check-coded records over two flash pages. */
#ifndef BOOTLOG_H
#define BOOTLOG_H

#include <stdint.h>

/* A record is one non-zero word: its kind in the top four bits, arguments below. */
#define STATE_KIND(record) ((record) >> 28)
#define STATE_CONFIRMED 1u /* slot A is permanent */
#define STATE_REQUEST 2u   /* slot B is to be judged; argument: bytes staged */
#ifdef FAULT_RECOVERY_ANY_COUNTER
#define REQUEST_BY_RECOVERY (1u << 20)
#endif
#define STATE_SWAP 3u      /* a swap is under way */
#define STATE_TEST 4u      /* slot A is new and was never started */
#define STATE_TRYING 5u    /* slot A is new and was started once */

#define STATE(kind, argument) ((uint32_t)(kind) << 28 | (argument))

/* Arguments of STATE_SWAP: direction, number of pages, page under way, steps of that page that are done. */
#define SWAP_RECORD(revert, pages, page, step) \
    STATE(STATE_SWAP, (uint32_t)(revert) << 24 | (uint32_t)(pages) << 16 | (uint32_t)(page) << 8 | (uint32_t)(step))
#define SWAP_REVERT(record) ((record) >> 24 & 1)
#define SWAP_PAGES(record) ((record) >> 16 & 0xFF)
#define SWAP_PAGE(record) ((record) >> 8 & 0xFF)
#define SWAP_STEP(record) ((record) & 0xFF)

/* The last whole record; STATE_CONFIRMED when there is none, which is the state of a device as made. */
uint32_t bootlog_last(void);
/* Makes `record` the last one. A cut at any point leaves the state before or after. */
void bootlog_append(uint32_t record);

#endif
