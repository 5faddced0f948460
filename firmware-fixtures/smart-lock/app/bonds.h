/* Phones that were paired, and may come back without a PIN. */
#ifndef BONDS_H
#define BONDS_H

#include <stdbool.h>
#include <stdint.h>

/* Remembers a phone and the key it has chosen, 32 hexadecimal digits, on behalf of a user; one of the same name is replaced. Returns NULL or
 * why it was refused. */
const char *bonds_add(const char *name, const char *key, uint32_t user);
const char *bonds_delete(const char *name);
/* Forgets all phones of a user. */
void bonds_delete_of(uint32_t user);
/* Checks name and key; on success `*user` is on whose behalf the phone was paired. */
bool bonds_check(const char *name, const char *key, uint32_t *user);

#endif
