/* The bootloader: decides which image runs, once per reset. */
#include "main.h"

#include <stddef.h>

#include "board.h"
#include "bootlog.h"
#include "image.h"
#include "layout.h"
#include "nvm.h"
#include "recovery.h"
#include "swap.h"
#include "text.h"
#include "uart.h"

#define WDT_SECONDS 4u

static void say(const char *what, const char *more)
{
    put_text("BL: ");
    put_text(what);
    put_line(more);
}

static uint32_t take_reset_reason(void)
{
    uint32_t bits = POWER_RESETREAS;
    POWER_RESETREAS = bits; /* sticky: cleared by writing ones */
    if ((POWER_RAMON & POWER_RAMON_BOTH) != POWER_RAMON_BOTH) {
        return RESET_UNKNOWN; /* no POWER block: QEMU answers every register in its place with 1 */
    }
    if (bits & 1u << 1) {
        return RESET_WATCHDOG;
    }
    if (bits & 1u << 3) {
        return RESET_LOCKUP;
    }
    if (bits & 1u << 2) {
        return RESET_SOFT;
    }
    if (bits & 1u << 0) {
        return RESET_PIN;
    }
    return RESET_POWER_ON; /* no bit is set */
}

static void judge_staged(uint32_t length)
{
    const char *refusal = image_refusal(SLOT_B, length);
    if (refusal != NULL) {
        say("refused ", refusal);
        bootlog_append(STATE(STATE_CONFIRMED, 0));
        return;
    }
    say("verify b ok", "");
    say("swap", "");
    swap_begin(false);
}

/* Brings the boot state to rest: afterwards it is CONFIRMED or TEST and slot A holds one whole image. */
static void settle(void)
{
    uint32_t state = bootlog_last();
    switch (STATE_KIND(state)) {
    case STATE_REQUEST:
        judge_staged(state & 0xFFFFFu);
        break;
    case STATE_SWAP:
        say("resume swap", "");
#ifdef FAULT_REVERT_FORGOTTEN
        state &= ~(1u << 24); /* which way the swap goes */
#endif
#ifdef FAULT_CUT_ERASES_SETTINGS
        nvm_erase(STORE_PAGE);
        nvm_erase(STORE_PAGE + PAGE_SIZE);
#endif
        swap_finish(state);
#ifdef FAULT_RESUMED_COUNTER_EARLY
        counter_raise(((const struct image_header *)SLOT_A)->counter);
#endif
        break;
    case STATE_TRYING:
        say("revert", "");
        swap_begin(true);
        break;
    default:
        break;
    }
}

static bool slot_a_good(void)
{
    const char *refusal = image_refusal(SLOT_A, 0);
#ifdef FAULT_VERIFY_ONCE
    refusal = image_pages(SLOT_A) != 0 ? NULL : "header"; /* it was verified when it came */
#endif
    if (refusal == NULL) {
        say("verify a ok", "");
        return true;
    }
    say("refused ", refusal);
    return false;
}

static void start_watchdog(void)
{
#ifdef FAULT_NO_WATCHDOG
    return;
#endif
    if (WDT_RUNSTATUS == 0) {
        WDT_CONFIG = 1; /* counts while the CPU sleeps, stops while a debugger halts it */
        WDT_CRV = WDT_SECONDS * 32768u - 1;
        WDT_RREN = 1;
        WDT_START = 1;
    }
    wdt_feed();
}

_Noreturn static void start_application(void)
{
    const uint32_t *vectors = (const uint32_t *)IMAGE_LOAD;
    uart_flush();
    start_watchdog();
    NVIC_ICER = 0xFFFFFFFFu;
    NVIC_ICPR = 0xFFFFFFFFu;
    HANDOVER->vectors = vectors;
    __asm volatile("msr msp, %0\n"
                   "isb\n"
                   "bx %1\n"
                   :
                   : "r"(vectors[0]), "r"(vectors[1]));
    __builtin_unreachable();
}

_Noreturn void boot(void)
{
    uint32_t reason = take_reset_reason();
    HANDOVER->reset_reason = reason;
    wdt_feed(); /* a watchdog started before a soft reset keeps running */
    uart_start();
    say("reset ", reset_text(reason));
    settle();
    bool good = slot_a_good();
    if (!good && STATE_KIND(bootlog_last()) == STATE_TEST) {
        say("revert", "");
        swap_begin(true);
        good = slot_a_good();
    }
    if (!good) {
        say("recovery", "");
        recovery();
    }
#ifdef FAULT_COUNTER_EARLY
    counter_raise(((const struct image_header *)SLOT_A)->counter);
#endif
#ifdef FAULT_NO_REVERT
    if (STATE_KIND(bootlog_last()) == STATE_TEST) {
        bootlog_append(STATE(STATE_CONFIRMED, 0));
    }
#endif
    if (STATE_KIND(bootlog_last()) == STATE_TEST) {
        bootlog_append(STATE(STATE_TRYING, 0)); /* from here on, any reset before `confirm` reverts */
    } else {
        counter_raise(((const struct image_header *)SLOT_A)->counter); /* also ends a raise that was cut */
    }
#ifndef FAULT_NO_LOCK
    readback_protect();
#endif
    start_application();
}
