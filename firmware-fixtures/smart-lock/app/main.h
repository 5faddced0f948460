#ifndef MAIN_H
#define MAIN_H

_Noreturn void application(void);
/* Erases users, settings, events and dumps, says so, and resets. Does not touch firmware, boot state or counter. */
_Noreturn void factory_reset(void);

#endif
