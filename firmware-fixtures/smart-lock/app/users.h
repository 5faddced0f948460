/* Who may operate the lock. */
#ifndef USERS_H
#define USERS_H

#include <stdbool.h>
#include <stdint.h>

#define NOBODY USERS

/* The user the device is delivered with. */
void users_defaults(void);
/* To be called after the store is loaded: a back-off under way starts over, so that a power cycle does not shorten it. */
void users_start(void);

enum login { LOGIN_OK, LOGIN_DENIED, LOGIN_WAIT };
/* Checks name and PIN; on success `*user` is the index of the user. */
enum login users_login(const char *name, const char *pin, uint32_t *user);

/* Each returns NULL or why it was refused. */
const char *users_add(const char *name, const char *pin);
const char *users_delete(const char *name, uint32_t self);
const char *users_set_pin(uint32_t user, const char *pin);
bool name_valid(const char *name);

#endif
