/* The event log: who opened the lock, who was denied, each start and each fault. Kept in flash until a factory reset. */
#ifndef EVENTS_H
#define EVENTS_H

#include <stdint.h>

enum event { EVENT_START = 1, EVENT_OPENED, EVENT_DENIED, EVENT_FAULT };

/* Appends an event. `who` is of the lock's own making or the name of one of its users, at most 15 characters; what strangers type is not
 * kept: it could be a PIN that went into the wrong place. */
void events_append(enum event event, const char *who);
/* Writes all events to the console, the oldest first, and how many there are. */
void events_show(void);

#endif
