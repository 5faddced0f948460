/* Vector table, entry, and forwarding of exceptions to the application. */
#include "board.h"
#include "layout.h"
#include "main.h"
#include "startup.h"

typedef void (*handler)(void);

static void fault(void) { system_reset(); }

/* The table that `forward` uses while the bootloader itself runs. Interrupts stay masked until the application unmasks them, so
 * only NMI and HardFault (numbers 2 and 3) can come. */
static const handler own_handlers[4] = {fault, fault, fault, fault};

static void reset(void)
{
    irq_disable();
    HANDOVER->vectors = (const uint32_t *)own_handlers; /* first: the word holds garbage after power-up */
    startup_ram();
    boot();
}

/* A Cortex-M0 always takes its vectors from address 0, so whatever happens while the application runs is passed on to the table it
 * was started with, at the same exception number. r0 to r3 were stacked by the exception; lr keeps the return code. */
__attribute__((naked)) static void forward(void)
{
    __asm volatile("ldr r0, =0x20000000\n"
                   "ldr r0, [r0]\n"
                   "mrs r1, ipsr\n"
                   "lsls r1, r1, #2\n"
                   "ldr r0, [r0, r1]\n"
                   "bx r0\n"
                   ".ltorg\n");
}

#define FORWARD_8 forward, forward, forward, forward, forward, forward, forward, forward

__attribute__((section(".vectors"), used)) static const handler vectors[48] = {
    (handler)link_stack, reset,   forward, forward, forward, forward, forward, forward,
    FORWARD_8,           FORWARD_8, FORWARD_8, FORWARD_8, FORWARD_8,
};
