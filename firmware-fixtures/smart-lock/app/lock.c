#include "lock.h"

#include "board.h"
#include "store.h"
#include "uart.h"

static bool open;
static uint32_t opened_at;

void lock_start(void)
{
    GPIO_OUTCLR = 1u << PIN_COLUMN | 1u << PIN_LED | 1u << PIN_BOLT;
    GPIO_PIN_CNF(PIN_COLUMN) = GPIO_CNF_OUTPUT;
    GPIO_PIN_CNF(PIN_LED) = GPIO_CNF_OUTPUT;
    GPIO_PIN_CNF(PIN_BOLT) = GPIO_CNF_OUTPUT;
}

void lock_set(bool unlocked)
{
    open = unlocked;
    opened_at = tick_now();
    if (unlocked) {
        GPIO_OUTSET = 1u << PIN_LED | 1u << PIN_BOLT;
    } else {
        GPIO_OUTCLR = 1u << PIN_LED | 1u << PIN_BOLT;
    }
}

bool lock_open(void) { return open; }

void lock_poll(void)
{
    if (open && store.autolock != 0 && tick_now() - opened_at >= store.autolock * TICKS_PER_SECOND) {
        lock_set(false);
    }
}
