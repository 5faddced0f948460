/* The console's byte stream and the 10 ms tick. The CPU sleeps whenever it waits. */
#ifndef UART_H
#define UART_H

#include <stdint.h>

#define TICKS_PER_SECOND 100u

void uart_start(void);
void uart_put(char byte);
/* Waits until the last byte has left. */
void uart_flush(void);
/* The next received byte, or -1 when there is none. */
int uart_get(void);
/* The next received byte, or -1 after `timeout` ticks without one. Feeds the watchdog. */
int uart_get_within(uint32_t timeout);
/* Sleeps until a byte is there or the tick is no longer `since`. */
void uart_wait(uint32_t since);

void tick_start(void);
uint32_t tick_now(void);

/* Interrupt handlers; the bootloader, which runs with interrupts masked, calls them after each sleep. */
void uart_irq(void);
void tick_irq(void);

#endif
