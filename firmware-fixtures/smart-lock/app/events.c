#include "events.h"

#include <stddef.h>
#include <string.h>

#include "layout.h"
#include "ring.h"
#include "store.h"
#include "text.h"

void events_append(enum event event, const char *who)
{
    uint32_t data[RING_WORDS] = {0};
    strcpy((char *)data, who);
    ring_append(EVENT_PAGE, event, data);
}

static const char *const what[] = {[EVENT_START] = " start ", [EVENT_OPENED] = " opened by ", [EVENT_DENIED] = " denied ", [EVENT_FAULT] = " fault "};

void events_show(void)
{
    uint32_t count = 0;
    for (const struct record *record = ring_next(EVENT_PAGE, NULL); record != NULL; record = ring_next(EVENT_PAGE, record)) {
        put_text("log ");
        put_number(RING_SECONDS(record));
        put_text(RING_KIND(record) <= EVENT_FAULT ? what[RING_KIND(record)] : " ? "); /* written by another version */
        put_line((const char *)record->data); /* ends with a zero: the CRC stands for what was written */
        count++;
    }
    put_text("log end ");
    put_number(count);
    put_line("");
}
