#include "ring.h"

#include <stdbool.h>
#include <stddef.h>

#include "crc32.h"
#include "layout.h"
#include "nvm.h"
#include "store.h"
#include "uart.h"

/* A page: {sequence, ~sequence, epoch, ~epoch}, then records. The epoch counts factory resets and stands in the store too, where one
 * write makes a reset permanent: from that write on no record from before counts, and what a cut keeps from being erased goes at the
 * next start. The sequence is written last, so a page that counts is of a known epoch.
 *
 * Records have one size and begin at fixed places. The CRC is written last; a torn record fails it and is skipped, and so is its place.
 * Nothing about an area is kept in RAM: what a fault has left there must not decide where a crash dump is written. */

struct head {
    uint32_t sequence;
    uint32_t not_sequence;
    uint32_t epoch;
    uint32_t not_epoch;
};

#define RECORDS ((PAGE_SIZE - sizeof(struct head)) / sizeof(struct record))
#define RECORD_WORDS (sizeof(struct record) / 4)
#define CRC_SEED 0x52494E47u
#define SECONDS_MAX 0xFFFFFFu

static const struct head *head_of(uint32_t page) { return (const struct head *)page; }
static const struct record *records_of(uint32_t page) { return (const struct record *)(page + sizeof(struct head)); }

/* The number of a page that counts; 0 when it does not. */
static uint32_t page_sequence(uint32_t page)
{
    const struct head *head = head_of(page);
    bool whole = (head->sequence ^ head->not_sequence) == 0xFFFFFFFFu && (head->epoch ^ head->not_epoch) == 0xFFFFFFFFu;
    return whole && head->sequence != 0xFFFFFFFFu && head->epoch == store.epoch ? head->sequence : 0;
}

static bool blank(const void *at, uint32_t words)
{
    for (const uint32_t *word = at; words != 0; words--) {
        if (*word++ != 0xFFFFFFFFu) {
            return false;
        }
    }
    return true;
}

static uint32_t check(const struct record *record) { return crc32(CRC_SEED, (const uint8_t *)record, offsetof(struct record, crc)); }

void ring_tidy(uint32_t area)
{
    for (uint32_t page = area; page < area + 2 * PAGE_SIZE; page += PAGE_SIZE) {
        if (page_sequence(page) == 0 && !blank((const void *)page, PAGE_SIZE / 4)) {
            nvm_erase(page);
        }
    }
}

/* The page with the higher number, which is written to. */
static uint32_t newer(uint32_t area)
{
    return page_sequence(area) > page_sequence(area + PAGE_SIZE) ? area : area + PAGE_SIZE;
}

static uint32_t other(uint32_t area, uint32_t page) { return page == area ? area + PAGE_SIZE : area; }

void ring_append(uint32_t area, uint32_t kind, const uint32_t data[RING_WORDS])
{
    uint32_t seconds = tick_now() / TICKS_PER_SECOND, page = newer(area), sequence = page_sequence(page), free = RECORDS;
    struct record record = {kind << 24 | (seconds < SECONDS_MAX ? seconds : SECONDS_MAX), {data[0], data[1], data[2], data[3]}, 0};
    record.crc = check(&record);
    if (sequence != 0) {
        free = 0;
        while (free < RECORDS && !blank(&records_of(page)[free], RECORD_WORDS)) {
            free++;
        }
    }
    if (free == RECORDS) {
        struct head head = {sequence + 1, ~(sequence + 1), store.epoch, ~store.epoch};
        page = other(area, page);
        nvm_erase(page);
        nvm_write((uint32_t)&head_of(page)->epoch, &head.epoch, 2);
        nvm_write(page, &head.sequence, 2);
        free = 0;
    }
    nvm_write((uint32_t)&records_of(page)[free], &record.stamp, RECORD_WORDS);
}

const struct record *ring_next(uint32_t area, const struct record *last)
{
    uint32_t late = newer(area), page = other(area, late);
    const struct record *at = records_of(page);
    if (last != NULL) {
        page = (uint32_t)last & ~(PAGE_SIZE - 1);
        at = last + 1;
    }
    for (;;) {
        if (page_sequence(page) != 0) {
            for (; at < records_of(page) + RECORDS; at++) {
                if (!blank(at, RECORD_WORDS) && check(at) == at->crc) {
                    return at;
                }
            }
        }
        if (page == late) {
            return NULL;
        }
        page = late;
        at = records_of(page);
    }
}
