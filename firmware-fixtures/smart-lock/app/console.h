/* The line protocol on the console. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stdint.h>

/* Announces that the device is fully up. */
void console_ready(void);
/* Takes one received byte; acts when it ends a line. */
void console_byte(uint8_t byte);
/* Ends a session nobody uses. To be called at least once per tick. */
void console_poll(void);

#ifdef FAULT_DUMP_LINE
/* The line that was typed last, over what is left of longer ones. */
const char *console_line(void);
#endif

#endif
