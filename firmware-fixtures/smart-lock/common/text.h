/* Text to the console and back. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stdint.h>

void put_text(const char *text);
void put_number(uint32_t value);
void put_line(const char *text);
/* Reads a decimal number that fills the whole text; false, and nothing stored, when it is none or above `max`. */
bool parse_number(const char *text, uint32_t max, uint32_t *value);
bool text_equal(const char *a, const char *b);
const char *reset_text(uint32_t reason);

#endif
