#include "users.h"

#include <string.h>

#include "board.h"
#include "bonds.h"
#include "sha256.h"
#include "store.h"
#include "text.h"
#include "uart.h"

#define ATTEMPTS 5u
#define BACK_OFF_TICKS (30 * TICKS_PER_SECOND)
#define PIN_MIN 4u
#define PIN_MAX 12u

static uint32_t back_off_from;

bool name_valid(const char *name)
{
    uint32_t length = 0;
    for (; *name != 0; name++, length++) {
        char c = *name;
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!good) {
            return false;
        }
    }
    return length > 0 && length < NAME_SIZE;
}

static bool pin_valid(const char *pin)
{
    size_t length = strlen(pin);
    return length >= PIN_MIN && length <= PIN_MAX && strspn(pin, "0123456789") == length;
}

/* SHA-256 over device id, name and PIN: a table made for one device or user is useless for another. One round: a PIN of a few digits
 * falls to a search whatever the hash costs, what keeps it is the closed debug port and the limit on attempts. */
static void pin_hash(const char *name, const char *pin, uint8_t hash[HASH_SIZE])
{
    uint8_t message[8 + NAME_SIZE + PIN_MAX + 1] = {0};
    memcpy(message, FICR_DEVICEID, 8);
    strcpy((char *)message + 8, name);
    strcpy((char *)message + 8 + NAME_SIZE, pin);
    sha256_short(message, sizeof message, hash);
}

static uint32_t find(const char *name)
{
    uint32_t i = 0;
    while (i < USERS && !text_equal(store.users[i].name, name)) {
        i++;
    }
    return i;
}

static void put_user(uint32_t user, const char *name, const char *pin)
{
    memset(&store.users[user], 0, sizeof store.users[user]);
    strcpy(store.users[user].name, name);
    pin_hash(name, pin, store.users[user].hash);
}

void users_defaults(void) { put_user(0, "admin", "24681357"); /* what the label of this test device says */ }

void users_start(void) { back_off_from = tick_now(); }

enum login users_login(const char *name, const char *pin, uint32_t *user)
{
    uint8_t hash[HASH_SIZE], difference = 0;
#ifndef FAULT_NO_LIMIT
    if (store.failures >= ATTEMPTS && tick_now() - back_off_from < BACK_OFF_TICKS) {
        return LOGIN_WAIT;
    }
#endif
    bool plausible = name_valid(name) && pin_valid(pin);
    *user = plausible ? find(name) : NOBODY;
    /* An unknown name costs the same time as a wrong PIN. */
    pin_hash(plausible ? name : "", plausible ? pin : "", hash);
    const uint8_t *expected = store.users[*user == NOBODY ? 0 : *user].hash;
    for (uint32_t i = 0; i < HASH_SIZE; i++) {
        difference |= hash[i] ^ expected[i];
    }
    if (*user != NOBODY && difference == 0) {
        if (store.failures != 0) {
            store.failures = 0;
            store_save(ITEM_FAILURES);
        }
        return LOGIN_OK;
    }
    if (store.failures < ATTEMPTS) {
        store.failures++;
        store_save(ITEM_FAILURES); /* in flash, so that a power cycle does not give new attempts */
    }
    back_off_from = tick_now();
    return LOGIN_DENIED;
}

const char *users_add(const char *name, const char *pin)
{
    if (!name_valid(name)) {
        return "name";
    }
    if (!pin_valid(pin)) {
        return "pin";
    }
    if (find(name) != NOBODY) {
        return "exists";
    }
    uint32_t user = find("");
    if (user == NOBODY) {
        return "full";
    }
    put_user(user, name, pin);
    store_save(ITEM_USER + user);
    return NULL;
}

const char *users_delete(const char *name, uint32_t self)
{
    uint32_t user = name_valid(name) ? find(name) : NOBODY;
    if (user == NOBODY) {
        return "unknown user";
    }
    if (user == self) {
        return "own user"; /* so that one user always remains */
    }
    bonds_delete_of(user); /* first: a cut must not leave phones to a place that another user gets */
    memset(&store.users[user], 0, sizeof store.users[user]);
    store_save(ITEM_USER + user);
    return NULL;
}

const char *users_set_pin(uint32_t user, const char *pin)
{
    if (!pin_valid(pin)) {
        return "pin";
    }
    pin_hash(store.users[user].name, pin, store.users[user].hash);
    store_save(ITEM_USER + user);
    return NULL;
}
