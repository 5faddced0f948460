#include "swap.h"

#include "board.h"
#include "bootlog.h"
#include "image.h"
#include "layout.h"
#include "nvm.h"
#include "text.h"

/* Each page goes through three steps, and each step reads only pages that the step does not write:
 *   1. scratch := A    2. A := B    3. B := scratch
 * The record appended after a step says that its target is complete. After a cut the last record tells the step to take again, and
 * its source is still whole, because the step that overwrites the source begins only when the record is written. */
static void mark(uint32_t record)
{
#ifdef FAULT_SWAP_STATUS_NOT_PERSISTED
    if (STATE_KIND(record) == STATE_SWAP) {
        return;
    }
#endif
    bootlog_append(record);
}

void swap_begin(bool revert)
{
    uint32_t a = image_pages(SLOT_A), b = image_pages(SLOT_B), pages = a > b ? a : b;
    uint32_t record = SWAP_RECORD(revert, pages, 0, 0);
    mark(record);
    swap_finish(record);
}

void swap_finish(uint32_t record)
{
    uint32_t revert = SWAP_REVERT(record), pages = SWAP_PAGES(record), step = SWAP_STEP(record);
    for (uint32_t page = SWAP_PAGE(record); page < pages; page++, step = 0) {
        uint32_t a = SLOT_A + page * PAGE_SIZE, b = SLOT_B + page * PAGE_SIZE;
#ifdef TWIN_VERBOSE
        put_text("BL: page ");
        put_number(page);
        put_line("");
#endif
        if (step == 0) {
            nvm_copy_page(SCRATCH_PAGE, a);
            mark(SWAP_RECORD(revert, pages, page, 1));
        }
        if (step <= 1) {
            nvm_copy_page(a, b);
            mark(SWAP_RECORD(revert, pages, page, 2));
        }
        nvm_copy_page(b, SCRATCH_PAGE);
        if (page + 1 < pages) {
            mark(SWAP_RECORD(revert, pages, page + 1, 0));
        }
    }
    bootlog_append(revert ? STATE(STATE_CONFIRMED, 0) : STATE(STATE_TEST, 0));
}
