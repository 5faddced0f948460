#include "button.h"

#include "board.h"
#include "uart.h"

#define HOLD_TICKS (10 * TICKS_PER_SECOND)

static uint32_t up_at; /* last tick at which the button was up */
static bool released;  /* was up since the start: a stuck button must not reset the device again and again */

void button_start(void)
{
    GPIO_PIN_CNF(PIN_BUTTON) = GPIO_CNF_PULLUP;
}

bool button_held(void)
{
    uint32_t now = tick_now();
    if (GPIO_IN & 1u << PIN_BUTTON) {
        up_at = now;
        released = true;
    }
    return released && now - up_at >= HOLD_TICKS;
}
