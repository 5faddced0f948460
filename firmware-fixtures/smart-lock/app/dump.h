/* Crash dumps: what the application was doing when it failed. Kept in flash until a factory reset. */
#ifndef DUMP_H
#define DUMP_H

#include <stdint.h>

/* To be called when the store is loaded: erases what a reset should have erased, and notes this start and what led to it. */
void dump_start(void);
/* Notes a fault and resets. `frame` is what the exception has stacked: r0 to r3, r12, lr, pc, psr. */
_Noreturn void dump_fault(const uint32_t *frame);
/* Writes all dumps to the console, the oldest first, and how many there are. */
void dump_show(void);

#endif
