#include "store.h"

#include <string.h>

#include "board.h"
#include "crc32.h"
#include "layout.h"
#include "nvm.h"
#include "users.h"

/* A page: {sequence, ~sequence}, then records {tag, ~tag, CRC-32, data}. A tag names item and size. The sequence number of a page is
 * written last when the page is taken into use, so a page counts only when it holds everything; of two that count, the higher number
 * is the later. A torn tag reads as no record, torn data fails the CRC; both are skipped and the item keeps its older value. The CRC
 * starts from the tag: started from all ones, four erased bytes would have an erased word as their right CRC. */
#define FORM 0x53u
#ifdef FAULT_MIGRATES
#define FORM_WRITTEN 0x54u /* another form, which older versions take for torn tags */
#else
#define FORM_WRITTEN FORM
#endif
#define TAG(item, size) (FORM_WRITTEN << 24 | (item) << 16 | (size))
#define TAG_VALID(tag) ((tag) >> 24 == FORM || (tag) >> 24 == FORM_WRITTEN)
#define TAG_ITEM(tag) ((tag) >> 16 & 0xFF)
#define TAG_SIZE(tag) ((tag) & 0xFFFF)
#define FIRST 8u   /* offset of the first record */
#define HEADER 12u /* bytes of a record before its data */

struct store store;

static uint32_t page;     /* address of the page in use */
static uint32_t sequence; /* its number */
static uint32_t end;      /* offset behind its last record */

static uint32_t word_at(uint32_t address) { return REG(address); }

static uint32_t page_sequence(uint32_t at)
{
    uint32_t number = word_at(at);
    return (number ^ word_at(at + 4)) == 0xFFFFFFFFu && number != 0xFFFFFFFFu ? number : 0;
}

static uint32_t other(uint32_t at) { return at == STORE_PAGE ? STORE_PAGE + PAGE_SIZE : STORE_PAGE; }

static void *item_data(uint32_t item, uint32_t *size)
{
    *size = 4;
    switch (item) {
    case ITEM_NAME:
        *size = NAME_SIZE;
        return store.name;
    case ITEM_VOLUME:
        return &store.volume;
    case ITEM_AUTOLOCK:
        return &store.autolock;
    case ITEM_FAILURES:
        return &store.failures;
    case ITEM_EPOCH:
        return &store.epoch;
    }
    if (item >= ITEM_BOND) {
        *size = sizeof(struct bond);
        return item < ITEM_END ? &store.bonds[item - ITEM_BOND] : NULL;
    }
    *size = sizeof(struct user);
    return item >= ITEM_USER ? &store.users[item - ITEM_USER] : NULL;
}

/* Reads the records of the page in use. */
static void replay(void)
{
    end = FIRST;
    while (end + HEADER <= PAGE_SIZE) {
        uint32_t at = page + end, tag = word_at(at), size;
        if ((tag & word_at(at + 4)) == 0xFFFFFFFFu) {
            return;
        }
        if ((tag ^ word_at(at + 4)) != 0xFFFFFFFFu || !TAG_VALID(tag) || TAG_SIZE(tag) > PAGE_SIZE - HEADER - end) {
            end += 8; /* torn tag: nothing was written behind it */
            continue;
        }
        void *data = item_data(TAG_ITEM(tag), &size);
        if (data != NULL && size == TAG_SIZE(tag) && crc32(tag, (const uint8_t *)at + HEADER, size) == word_at(at + 8)) {
            memcpy(data, (const void *)(at + HEADER), size);
        }
        end += HEADER + TAG_SIZE(tag);
    }
}

static uint32_t append(uint32_t to, uint32_t offset, uint32_t item)
{
    uint32_t size;
    const void *data = item_data(item, &size);
    uint32_t header[3] = {TAG(item, size), ~TAG(item, size), crc32(TAG(item, size), data, size)};
    nvm_write(to + offset, header, 3);
    nvm_write(to + offset + HEADER, data, size / 4);
    return offset + HEADER + size;
}

/* Writes all of `store` to the other page, lets that page count, and erases the former one. */
static void move(void)
{
    uint32_t to = other(page), offset = FIRST, mark[2] = {sequence + 1, ~(sequence + 1)};
    nvm_erase(to);
    for (uint32_t item = ITEM_NAME; item < ITEM_END; item++) {
        uint32_t size;
        const char *name = item_data(item, &size); /* of a user or a bond: begins with the name */
        if (item < ITEM_USER || name[0] != 0) {
            offset = append(to, offset, item);
        }
    }
    nvm_write(to, mark, 2);
#ifndef FAULT_RESET_KEEPS_PAGE
    nvm_erase(page);
#endif
    page = to;
    sequence = mark[0];
    end = offset;
}

static void defaults(void)
{
    uint32_t epoch = store.epoch;
    memset(&store, 0, sizeof store);
    store.epoch = epoch;
    strcpy(store.name, "front-door");
    store.volume = 5;
    store.autolock = 30;
    users_defaults();
}

void store_load(void)
{
    uint32_t first = page_sequence(STORE_PAGE), second = page_sequence(STORE_PAGE + PAGE_SIZE);
    page = first > second ? STORE_PAGE : STORE_PAGE + PAGE_SIZE;
    sequence = first > second ? first : second;
    if (sequence == 0) {
        defaults();
        move();
        return;
    }
    memset(&store, 0, sizeof store);
    replay();
#ifndef FAULT_RESET_KEEPS_PAGE
    /* A cut may have kept the former page from being erased; it can hold users that were deleted since. */
    for (uint32_t offset = 0; offset < PAGE_SIZE; offset += 4) {
        if (word_at(other(page) + offset) != 0xFFFFFFFFu) {
            nvm_erase(other(page));
            break;
        }
    }
#endif
#ifdef FAULT_MIGRATES
    move(); /* no copy in the old form is kept for a revert */
#endif
}

void store_save(uint32_t item)
{
    uint32_t size;
    item_data(item, &size);
    if (end + HEADER + size > PAGE_SIZE) {
        move();
    } else {
        end = append(page, end, item);
    }
}

void store_erase(void)
{
#ifndef FAULT_RESET_KEEPS_LOG
    store.epoch++; /* permanent with the rest: from then on no event and no dump counts any more */
#endif
#ifdef FAULT_RESET_IN_TWO_STEPS
    struct user users[USERS];
    memcpy(users, store.users, sizeof users);
    defaults();
    memcpy(store.users, users, sizeof users);
    move();
#endif
#ifdef FAULT_RESET_KEEPS_BONDS
    struct bond bonds[BONDS];
    memcpy(bonds, store.bonds, sizeof bonds);
    defaults();
    memcpy(store.bonds, bonds, sizeof bonds);
#else
    defaults();
#endif
#ifdef FAULT_RESET_DEFAULT_PIN
    users_set_pin(0, "0000");
#endif
#ifdef FAULT_RESET_LOGICAL
    /* Only what has a default is written anew; the records of other users stay in the log. */
    for (uint32_t item = ITEM_NAME; item <= ITEM_USER; item++) {
        store_save(item);
    }
    return;
#endif
    move();
}
