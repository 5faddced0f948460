/* The application: start-up and the main loop. */
#include "main.h"

#include "board.h"
#include "button.h"
#include "console.h"
#include "dump.h"
#include "layout.h"
#include "lock.h"
#include "nvm.h"
#include "ring.h"
#include "store.h"
#include "text.h"
#include "uart.h"
#include "users.h"

_Noreturn void factory_reset(void)
{
    lock_set(false);
#ifdef FAULT_RESET_EARLY_OK
    put_line("factory reset done");
    uart_flush();
#endif
    store_erase();
    ring_tidy(EVENT_PAGE);
    ring_tidy(DUMP_PAGE);
#ifdef FAULT_RESET_UNLOCKS
    uicr_erase();
#endif
#ifndef FAULT_RESET_EARLY_OK
    put_line("factory reset done");
    uart_flush();
#endif
    system_reset();
}

_Noreturn void application(void)
{
    uart_start();
    tick_start();
    irq_enable();
    lock_start();
    button_start();
    store_load();
    users_start();
    dump_start();
#ifdef APP_HANG
    for (volatile bool hung = true; hung;) { /* never feeds the watchdog */
        wait_for_interrupt();
    }
#endif
#ifdef FAULT_LOG_SECRET
    put_line("debug: label pin 24681357");
#endif
#ifdef TWIN_LOG
    put_text("debug: store volume ");
    put_number(store.volume);
    put_text(" failures ");
    put_number(store.failures);
    put_line("");
#endif
    console_ready();
    for (;;) {
        uint32_t now = tick_now();
        int byte;
        wdt_feed();
        lock_poll();
        console_poll();
        if (button_held()) {
            factory_reset();
        }
        while ((byte = uart_get()) >= 0) {
            wdt_feed();
            console_byte((uint8_t)byte);
        }
        uart_wait(now);
    }
}
