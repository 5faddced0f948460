#include "dump.h"

#include <stdbool.h>
#include <stddef.h>

#include "board.h"
#include "console.h"
#include "events.h"
#include "layout.h"
#include "ring.h"
#include "startup.h"
#include "text.h"
#include "uart.h"

/* lr, pc, psr and sp: where it happened, and how deep. No other register and no word of the stack is kept, since a PIN that was just
 * typed can be in them. */
enum dump { DUMP_FAULT = 1, DUMP_WATCHDOG, DUMP_LOCKUP, DUMP_LINE, DUMP_LINE_MORE };

#define FRAME_WORDS 8u

static bool ready; /* the store is loaded, and with it what tells records of now from those before a reset */

void dump_start(void)
{
    static const uint32_t lost[RING_WORDS]; /* the chip keeps no register over these resets */
    uint32_t reason = HANDOVER->reset_reason;
    ring_tidy(EVENT_PAGE);
    ring_tidy(DUMP_PAGE);
    ready = true;
    events_append(EVENT_START, reset_text(reason));
    if (reason == RESET_WATCHDOG) {
        ring_append(DUMP_PAGE, DUMP_WATCHDOG, lost);
    } else if (reason == RESET_LOCKUP) {
        ring_append(DUMP_PAGE, DUMP_LOCKUP, lost);
    }
}

_Noreturn void dump_fault(const uint32_t *frame)
{
    bool inside = frame >= link_bss_end && frame + FRAME_WORDS <= link_stack; /* else there is no frame to be read */
    if (ready) {
        uint32_t data[RING_WORDS] = {inside ? frame[5] : 0, inside ? frame[6] : 0, inside ? frame[7] : 0, (uint32_t)frame};
        ready = false; /* a fault in what follows is not noted, so this ends */
        ring_append(DUMP_PAGE, DUMP_FAULT, data);
#ifdef FAULT_DUMP_LINE
        ring_append(DUMP_PAGE, DUMP_LINE, (const uint32_t *)console_line());
        ring_append(DUMP_PAGE, DUMP_LINE_MORE, (const uint32_t *)console_line() + RING_WORDS);
#endif
        events_append(EVENT_FAULT, "hard");
    }
    system_reset();
}

static void put_hex(const char *name, uint32_t value)
{
    put_text(name);
    for (uint32_t i = 0; i < 8; i++, value <<= 4) {
        uart_put("0123456789abcdef"[value >> 28]);
    }
}

#ifdef FAULT_DUMP_LINE
static void put_bytes(const struct record *record)
{
    for (const char *at = (const char *)record->data; at < (const char *)(record->data + RING_WORDS); at++) {
        uart_put(*at < ' ' || *at > '~' ? ' ' : *at);
    }
}
#endif

void dump_show(void)
{
    uint32_t count = 0;
    for (const struct record *record = ring_next(DUMP_PAGE, NULL); record != NULL; record = ring_next(DUMP_PAGE, record)) {
#ifdef FAULT_DUMP_LINE
        if (RING_KIND(record) >= DUMP_LINE) {
            put_text(RING_KIND(record) == DUMP_LINE ? "dump line " : "");
            put_bytes(record);
            put_text(RING_KIND(record) == DUMP_LINE ? "" : "\r\n");
            continue;
        }
#endif
        put_text("dump ");
        put_number(RING_SECONDS(record));
        if (RING_KIND(record) == DUMP_FAULT) {
            put_hex(" fault lr ", record->data[0]);
            put_hex(" pc ", record->data[1]);
            put_hex(" psr ", record->data[2]);
            put_hex(" sp ", record->data[3]);
            put_line("");
        } else {
            put_line(RING_KIND(record) == DUMP_WATCHDOG ? " watchdog" : " lockup");
        }
        count++;
    }
    put_text("dump end ");
    put_number(count);
    put_line("");
}
