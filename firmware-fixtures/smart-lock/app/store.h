/* Settings, users and bonds: a copy in RAM, and a log of checked records over two flash pages. */
#ifndef STORE_H
#define STORE_H

#include <stdint.h>

#define NAME_SIZE 16u /* with the closing zero */
#define USERS 6u
#define HASH_SIZE 32u
#define BONDS 4u
#define KEY_SIZE 16u

struct user {
    char name[NAME_SIZE]; /* empty: free */
    uint8_t hash[HASH_SIZE];
};

/* A phone that may come back. */
struct bond {
    char name[NAME_SIZE]; /* empty: free */
    uint8_t key[KEY_SIZE];
    uint32_t user; /* on whose behalf */
};

struct store {
    char name[NAME_SIZE];
    uint32_t volume;   /* 0 to 10 */
    uint32_t autolock; /* seconds, 0: never */
    uint32_t failures; /* denied logins in a row */
    uint32_t epoch;    /* factory resets so far */
    struct user users[USERS];
    struct bond bonds[BONDS];
};

enum item { ITEM_NAME = 1, ITEM_VOLUME, ITEM_AUTOLOCK, ITEM_FAILURES, ITEM_EPOCH, ITEM_USER, ITEM_BOND = ITEM_USER + USERS, ITEM_END = ITEM_BOND + BONDS };

extern struct store store;

/* Fills `store` from flash; writes the factory defaults when there is nothing. */
void store_load(void);
/* Makes one item of `store` permanent (ITEM_USER + n for user n, ITEM_BOND + n for bond n). A cut leaves the value before or after. */
void store_save(uint32_t item);
/* Back to the factory defaults; nothing of the former contents stays in flash. */
void store_erase(void);

#endif
