/* Vector table and entry of the application. The bootloader forwards every exception here. */
#include "board.h"
#include "dump.h"
#include "main.h"
#include "startup.h"
#include "uart.h"

typedef void (*handler)(void);

static void fault(void) { system_reset(); }

/* All runs on the main stack, so its pointer is where the frame is: nothing was pushed on the way through the bootloader. */
__attribute__((naked)) static void hard_fault(void)
{
    __asm volatile("mov r0, sp\n"
                   "ldr r1, =dump_fault\n"
                   "bx r1\n"
                   ".ltorg\n");
}

static void reset(void)
{
    irq_disable(); /* as the bootloader left it */
    startup_ram();
    application();
}

#define FAULT_8 fault, fault, fault, fault, fault, fault, fault, fault

__attribute__((section(".vectors"), used)) static const handler vectors[48] = {
    (handler)link_stack, reset, fault, hard_fault, fault, fault, fault, fault,
    FAULT_8,
    /* IRQ 0 to 7 */ fault, fault, uart_irq, fault, fault, fault, fault, fault,
    /* IRQ 8 to 15 */ tick_irq, fault, fault, fault, fault, fault, fault, fault,
    FAULT_8, FAULT_8,
};

/* Shifts all code behind it by a different amount in each release, so that every page of two releases differs as it does between real
 * ones. With equal payloads a device that mixes pages of two images would go unnoticed. */
#if APP_MAJOR > 1
__attribute__((section(".variant"), used)) static const uint32_t variant[(APP_MAJOR - 1) * 4] = {APP_MAJOR};
#endif
