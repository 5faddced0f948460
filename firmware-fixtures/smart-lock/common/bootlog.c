#include "bootlog.h"

#include "board.h"
#include "layout.h"
#include "nvm.h"

/* Every entry is a word and its complement. A cut write leaves bits at 1 that should be 0, a cut erase turns bits from 0 to 1;
 * either makes some bit 1 in both words, and nothing but a further erase or the completed write can repair that. So an entry that
 * reads as whole was written to its end, whatever the subset of bits that a cut left behind.
 *
 * Entry 0 of a page is its sequence number and is written last when a page is taken into use; the page with the higher number
 * counts. The other page is always erased before it is used, so what a cut left there never matters. */

struct entry {
    uint32_t word;
    uint32_t complement;
};

#define ENTRIES (PAGE_SIZE / sizeof(struct entry))

static const struct entry *page_entries(uint32_t page) { return (const struct entry *)(BOOTLOG_PAGE + page * PAGE_SIZE); }

static uint32_t whole(const struct entry *entry)
{
    uint32_t word = entry->word;
    return (word ^ entry->complement) == 0xFFFFFFFFu && word != 0xFFFFFFFFu ? word : 0;
}

static bool blank(const struct entry *entry) { return (entry->word & entry->complement) == 0xFFFFFFFFu; }

static void put(const struct entry *at, uint32_t word)
{
    struct entry entry = {word, ~word};
    nvm_write((uint32_t)at, &entry.word, 2);
}

/* The page in use; its sequence number is 0 when neither is. */
static uint32_t current(uint32_t *sequence)
{
    uint32_t first = whole(page_entries(0)), second = whole(page_entries(1));
    *sequence = first > second ? first : second;
    return first > second ? 0 : 1;
}

uint32_t bootlog_last(void)
{
    uint32_t sequence, last = STATE(STATE_CONFIRMED, 0);
    const struct entry *entries = page_entries(current(&sequence));
    if (sequence == 0) {
        return last;
    }
    for (uint32_t i = 1; i < ENTRIES && !blank(&entries[i]); i++) {
        uint32_t word = whole(&entries[i]);
        if (word != 0) {
            last = word;
        }
    }
    return last;
}

void bootlog_append(uint32_t record)
{
    uint32_t sequence, page = current(&sequence);
    const struct entry *entries = page_entries(page);
#ifdef FAULT_BOOTLOG_SINGLE_COPY
    nvm_erase((uint32_t)entries);
    put(&entries[1], record);
    put(&entries[0], sequence + 1);
    return;
#endif
    if (sequence != 0) {
        for (uint32_t i = 1; i < ENTRIES; i++) {
            if (blank(&entries[i])) {
                put(&entries[i], record);
                return;
            }
        }
    }
    entries = page_entries(page ^ 1);
    nvm_erase((uint32_t)entries);
    put(&entries[1], record);
    put(&entries[0], sequence + 1);
}
