#include "text.h"

#include "layout.h"
#include "uart.h"

void put_text(const char *text)
{
    while (*text != 0) {
        uart_put(*text++);
    }
}

void put_number(uint32_t value)
{
    char digits[11];
    char *at = digits + sizeof digits;
    *--at = 0;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    put_text(at);
}

void put_line(const char *text)
{
    put_text(text);
    put_text("\r\n");
}

bool parse_number(const char *text, uint32_t max, uint32_t *value)
{
    uint32_t number = 0;
    if (*text == 0) {
        return false;
    }
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9' || number > max / 10) {
            return false;
        }
        number = number * 10 + (uint32_t)(*text - '0');
    }
    if (number > max) {
        return false;
    }
    *value = number;
    return true;
}

bool text_equal(const char *a, const char *b)
{
    while (*a != 0 && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

const char *reset_text(uint32_t reason)
{
    switch (reason) {
    case RESET_POWER_ON:
        return "power-on";
    case RESET_PIN:
        return "pin";
    case RESET_WATCHDOG:
        return "watchdog";
    case RESET_SOFT:
        return "soft";
    case RESET_LOCKUP:
        return "lockup";
    default:
        return "unknown";
    }
}
