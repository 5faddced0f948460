#include "recovery.h"

#include "board.h"
#include "layout.h"
#include "text.h"
#include "uart.h"
#include "update.h"

/* Understands `update LENGTH` and `version`. No login: there is nothing to protect but the right to install, and the signature and
 * the counter decide about that. */
static void command(char *line)
{
    static const char update[] = "update ";
    uint32_t length, i = 0;
    if (text_equal(line, "version")) {
        put_line("version none recovery");
        return;
    }
    while (i < sizeof update - 1 && line[i] == update[i]) {
        i++;
    }
    if (i == sizeof update - 1 && parse_number(line + i, 0xFFFFFu, &length)) {
        update_receive(length);
        return;
    }
    put_line("error recovery");
}

void recovery(void)
{
    char line[24];
    uint32_t length = 0;
    tick_start();
    for (;;) {
        int byte = uart_get_within(TICKS_PER_SECOND);
        if (byte < 0) {
            continue;
        }
        if (byte != '\r' && byte != '\n') {
            line[length] = (char)byte;
            length += length < sizeof line - 1; /* a longer line overwrites its end and is not understood */
            continue;
        }
        line[length] = 0;
        if (length != 0) {
            command(line);
        }
        length = 0;
    }
}
