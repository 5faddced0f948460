/* Registers of the nRF51822 that this firmware uses, and the wiring of the lock (that of a BBC micro:bit v1). */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stdint.h>

#define REG(address) (*(volatile uint32_t *)(address))

#define CLOCK_HFCLKSTART REG(0x40000000)
#define POWER_RESETREAS REG(0x40000400)
#define POWER_RAMON REG(0x40000524)
#define POWER_RAMON_BOTH 3u /* its reset value: both RAM blocks are on */

#define UART_STARTRX REG(0x40002000)
#define UART_STARTTX REG(0x40002008)
#define UART_RXDRDY REG(0x40002108)
#define UART_TXDRDY REG(0x4000211C)
#define UART_ERROR REG(0x40002124)
#define UART_INTENSET REG(0x40002304)
#define UART_ERRORSRC REG(0x40002480)
#define UART_ENABLE REG(0x40002500)
#define UART_PSELTXD REG(0x4000250C)
#define UART_PSELRXD REG(0x40002514)
#define UART_RXD REG(0x40002518)
#define UART_TXD REG(0x4000251C)
#define UART_BAUDRATE REG(0x40002524)
#define UART_BAUD_115200 0x01D7E000u
#define UART_INT_RXDRDY (1u << 2)
#define UART_INT_TXDRDY (1u << 7)
#define UART_INT_ERROR (1u << 9)
#define UART_IRQ 2

#define TIMER0_START REG(0x40008000)
#define TIMER0_STOP REG(0x40008004)
#define TIMER0_CLEAR REG(0x4000800C)
#define TIMER0_COMPARE0 REG(0x40008140)
#define TIMER0_SHORTS REG(0x40008200)
#define TIMER0_INTENSET REG(0x40008304)
#define TIMER0_MODE REG(0x40008504)
#define TIMER0_BITMODE REG(0x40008508)
#define TIMER0_PRESCALER REG(0x40008510)
#define TIMER0_CC0 REG(0x40008540)
#define TIMER0_IRQ 8

#define WDT_START REG(0x40010000)
#define WDT_RUNSTATUS REG(0x40010400)
#define WDT_CRV REG(0x40010504)
#define WDT_RREN REG(0x40010508)
#define WDT_CONFIG REG(0x4001050C)
#define WDT_RR0 REG(0x40010600)
#define WDT_RELOAD 0x6E524635u

#define NVMC_READY REG(0x4001E400)
#define NVMC_CONFIG REG(0x4001E504)
#define NVMC_ERASEPAGE REG(0x4001E508)
#define NVMC_ERASEUICR REG(0x4001E514)
#define NVMC_READ_ONLY 0
#define NVMC_WRITE 1
#define NVMC_ERASE 2

#define FICR_DEVICEID ((const uint32_t *)0x10000060)
#define UICR_RBPCONF 0x10001004u
#define UICR_RBPCONF_PALL 0xFFFF00FFu
#define UICR_CUSTOMER 0x10001080u
#define UICR_CUSTOMER_WORDS 32u

#define GPIO_OUTSET REG(0x50000508)
#define GPIO_OUTCLR REG(0x5000050C)
#define GPIO_IN REG(0x50000510)
#define GPIO_PIN_CNF(pin) REG(0x50000700 + 4 * (pin))
#define GPIO_CNF_OUTPUT 3u   /* output, input buffer off */
#define GPIO_CNF_INPUT 0u
#define GPIO_CNF_PULLUP 12u  /* input with pull-up */

#define NVIC_ISER REG(0xE000E100)
#define NVIC_ICER REG(0xE000E180)
#define NVIC_ICPR REG(0xE000E280)
#define SCB_AIRCR REG(0xE000ED0C)

#define PIN_COLUMN 4u  /* LED matrix column, driven low */
#define PIN_LED 13u    /* LED matrix row 1 */
#define PIN_BOLT 14u   /* LED matrix row 2: high while the bolt is drawn back */
#define PIN_BUTTON 17u /* low while pressed */
#define PIN_TXD 24u
#define PIN_RXD 25u

static inline void irq_disable(void) { __asm volatile("cpsid i" ::: "memory"); }
static inline void irq_enable(void) { __asm volatile("cpsie i" ::: "memory"); }
static inline void wait_for_interrupt(void) { __asm volatile("dsb\n wfi" ::: "memory"); }

static inline void wdt_feed(void) { WDT_RR0 = WDT_RELOAD; }

static inline _Noreturn void system_reset(void)
{
    __asm volatile("dsb" ::: "memory");
    SCB_AIRCR = 0x05FA0004u;
    for (;;) {
        __asm volatile("dsb" ::: "memory");
    }
}

#endif
