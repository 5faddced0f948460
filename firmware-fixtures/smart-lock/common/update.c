#include "update.h"

#include "board.h"
#include "bootlog.h"
#include "layout.h"
#include "nvm.h"
#include "text.h"
#include "uart.h"

#define CHUNK 64u

void update_receive(uint32_t length)
{
    if (length < IMAGE_HEADER_SIZE + IMAGE_MIN_PAYLOAD + IMAGE_SIGNATURE_SIZE || length > SLOT_SIZE) {
        put_line("refused length");
        return;
    }
    for (uint32_t page = SLOT_B; page < SLOT_B + length; page += PAGE_SIZE) {
        nvm_erase(page);
    }
    /* The line may have ended with two bytes, the second still on its way: it must not become the first byte of the image. */
    for (uint32_t stray = 0; stray < 256 && uart_get_within(1) >= 0; stray++) {
    }
    put_line("send");
    for (uint32_t offset = 0; offset < length;) {
        uint32_t words[CHUNK / 4];
        uint8_t *bytes = (uint8_t *)words;
        uint32_t size = length - offset < CHUNK ? length - offset : CHUNK;
        for (uint32_t i = 0; i < CHUNK / 4; i++) {
            words[i] = 0xFFFFFFFFu;
        }
        for (uint32_t i = 0; i < size; i++) {
            int byte = uart_get_within(5 * TICKS_PER_SECOND);
            if (byte < 0) {
                put_line("refused timeout");
                return;
            }
            bytes[i] = (uint8_t)byte;
        }
        nvm_write(SLOT_B + offset, words, CHUNK / 4);
        offset += size;
        put_text("ack ");
        put_number(offset);
        put_line("");
    }
#if defined FAULT_RECOVERY_ANY_COUNTER && defined BOOTLOADER
    length |= REQUEST_BY_RECOVERY;
#endif
    bootlog_append(STATE(STATE_REQUEST, length));
    put_line("staged");
    uart_flush();
    system_reset();
}
