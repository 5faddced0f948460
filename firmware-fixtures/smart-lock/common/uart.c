#include "uart.h"

#include "board.h"

#define RING 128u /* power of two */

static volatile uint8_t ring[RING];
static volatile uint32_t received, taken;
static volatile bool sending;
static volatile uint32_t ticks;

/* Sleeps while `condition` holds. Masked interrupts still end the sleep, so that one arriving between the test and the sleep is not
 * lost; it is served when they are unmasked. */
#ifdef BOOTLOADER
#define WAIT_WHILE(condition)                                \
    while (condition) {                                      \
        wait_for_interrupt();                                \
        uart_irq();                                          \
        tick_irq();                                          \
        NVIC_ICPR = (1u << UART_IRQ) | (1u << TIMER0_IRQ);   \
    }
#else
#define WAIT_WHILE(condition)   \
    for (;;) {                  \
        irq_disable();          \
        if (!(condition)) {     \
            irq_enable();       \
            break;              \
        }                       \
        wait_for_interrupt();   \
        irq_enable();           \
    }
#endif

void uart_start(void)
{
    CLOCK_HFCLKSTART = 1; /* the crystal: the RC oscillator is too coarse for a long frame */
    GPIO_OUTSET = 1u << PIN_TXD;
    GPIO_PIN_CNF(PIN_TXD) = GPIO_CNF_OUTPUT;
    GPIO_PIN_CNF(PIN_RXD) = GPIO_CNF_INPUT;
    UART_ENABLE = 0; /* pins may only be selected while it is off */
    UART_PSELTXD = PIN_TXD;
    UART_PSELRXD = PIN_RXD;
    UART_BAUDRATE = UART_BAUD_115200;
    UART_ENABLE = 4;
    UART_RXDRDY = 0;
    UART_TXDRDY = 0;
    UART_ERROR = 0;
    UART_INTENSET = UART_INT_RXDRDY | UART_INT_TXDRDY | UART_INT_ERROR;
    UART_STARTTX = 1;
    UART_STARTRX = 1;
    NVIC_ICPR = 1u << UART_IRQ;
    NVIC_ISER = 1u << UART_IRQ;
}

void uart_irq(void)
{
    if (UART_TXDRDY != 0) {
        UART_TXDRDY = 0;
        sending = false;
    }
    while (UART_RXDRDY != 0) {
        UART_RXDRDY = 0; /* before RXD is read: reading may raise it again for the next byte of the FIFO */
        uint8_t byte = (uint8_t)UART_RXD;
        if (received - taken < RING) {
            ring[received % RING] = byte;
            received++;
        }
    }
    if (UART_ERROR != 0) {
        UART_ERROR = 0;
        UART_ERRORSRC = UART_ERRORSRC;
    }
}

void uart_put(char byte)
{
    WAIT_WHILE(sending)
    sending = true;
    UART_TXD = (uint8_t)byte;
}

void uart_flush(void) { WAIT_WHILE(sending) }

int uart_get(void)
{
    if (received == taken) {
        return -1;
    }
    uint8_t byte = ring[taken % RING];
    taken++;
    return byte;
}

void uart_wait(uint32_t since) { WAIT_WHILE(received == taken && ticks == since) }

int uart_get_within(uint32_t timeout)
{
    for (uint32_t start = ticks;;) {
        uint32_t now = ticks;
        int byte = uart_get();
        if (byte >= 0 || now - start > timeout) {
            return byte;
        }
        wdt_feed();
        uart_wait(now);
    }
}

void tick_start(void)
{
    TIMER0_STOP = 1;
    TIMER0_CLEAR = 1;
    TIMER0_MODE = 0;
    TIMER0_BITMODE = 0;   /* 16 bit */
    TIMER0_PRESCALER = 4; /* 1 MHz */
    TIMER0_CC0 = 1000000 / TICKS_PER_SECOND;
    TIMER0_SHORTS = 1; /* COMPARE0 clears */
    TIMER0_COMPARE0 = 0;
    TIMER0_INTENSET = 1u << 16;
    NVIC_ICPR = 1u << TIMER0_IRQ;
    NVIC_ISER = 1u << TIMER0_IRQ;
    TIMER0_START = 1;
}

void tick_irq(void)
{
    if (TIMER0_COMPARE0 != 0) {
        TIMER0_COMPARE0 = 0;
        ticks++;
    }
}

uint32_t tick_now(void) { return ticks; }
