#include "bonds.h"

#include <stddef.h>
#include <string.h>

#include "store.h"
#include "text.h"
#include "users.h"

#define NO_BOND BONDS

static uint32_t find(const char *name)
{
    uint32_t i = 0;
    while (i < BONDS && !text_equal(store.bonds[i].name, name)) {
        i++;
    }
    return i;
}

static bool parse_key(const char *text, uint8_t key[KEY_SIZE])
{
    if (strlen(text) != 2 * KEY_SIZE) {
        return false;
    }
    for (uint32_t i = 0; i < 2 * KEY_SIZE; i++) {
        char c = text[i];
        uint8_t digit;
        if (c >= '0' && c <= '9') {
            digit = (uint8_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = (uint8_t)(c - 'a' + 10);
        } else {
            return false;
        }
        key[i / 2] = (uint8_t)(key[i / 2] << 4 | digit);
    }
    return true;
}

static void forget(uint32_t bond)
{
    memset(&store.bonds[bond], 0, sizeof store.bonds[bond]);
    store_save(ITEM_BOND + bond);
}

const char *bonds_add(const char *name, const char *key, uint32_t user)
{
    struct bond bond = {.user = user};
    if (!name_valid(name)) {
        return "name";
    }
    if (!parse_key(key, bond.key)) {
        return "key";
    }
    uint32_t place = find(name);
    if (place == NO_BOND) {
        place = find("");
    }
    if (place == NO_BOND) {
        return "full";
    }
    strcpy(bond.name, name);
    store.bonds[place] = bond;
    store_save(ITEM_BOND + place);
    return NULL;
}

const char *bonds_delete(const char *name)
{
    uint32_t bond = name_valid(name) ? find(name) : NO_BOND;
    if (bond == NO_BOND) {
        return "unknown phone";
    }
    forget(bond);
    return NULL;
}

void bonds_delete_of(uint32_t user)
{
    for (uint32_t i = 0; i < BONDS; i++) {
        if (store.bonds[i].name[0] != 0 && store.bonds[i].user == user) {
            forget(i);
        }
    }
}

bool bonds_check(const char *name, const char *key, uint32_t *user)
{
    uint8_t offered[KEY_SIZE], difference = 0;
    uint32_t bond = name_valid(name) ? find(name) : NO_BOND;
    if (bond == NO_BOND || !parse_key(key, offered)) {
        return false;
    }
    for (uint32_t i = 0; i < KEY_SIZE; i++) {
        difference |= offered[i] ^ store.bonds[bond].key[i];
    }
    *user = store.bonds[bond].user;
    return difference == 0;
}
