/* The bolt, its LED, and the automatic lock. */
#ifndef LOCK_H
#define LOCK_H

#include <stdbool.h>

void lock_start(void);
void lock_set(bool unlocked);
bool lock_open(void);
/* Locks again when the bolt has been drawn back for the set time. */
void lock_poll(void);

#endif
