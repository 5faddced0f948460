#include "nvm.h"

#include "board.h"
#include "layout.h"
#include "text.h"

/* The only places where the flash is opened for writing or erasing; it is read-only at all other times, so that a stray
 * pointer cannot change it. Each program has a floor below which it never writes: its own code and what protects it. */
static void guard(uint32_t address, uint32_t size)
{
    if (address < NVM_FLOOR || address > FLASH_END - size) {
        system_reset();
    }
}

/* Inlined: this is most of the time of a swap in an emulator. */
__attribute__((always_inline)) static inline void ready(void)
{
    while (NVMC_READY == 0) {
    }
}

void nvm_erase(uint32_t page)
{
    guard(page, PAGE_SIZE);
    wdt_feed();
    NVMC_CONFIG = NVMC_ERASE;
    ready();
    NVMC_ERASEPAGE = page;
    ready();
    NVMC_CONFIG = NVMC_READ_ONLY;
    ready();
}

static void program(volatile uint32_t *to, const uint32_t *from, uint32_t words)
{
    NVMC_CONFIG = NVMC_WRITE;
    ready();
    for (const uint32_t *end = from + words; from != end; from++, to++) {
        uint32_t value = *from;
        if (value != 0xFFFFFFFFu && value != *to) {
            *to = value;
            ready();
        }
    }
    NVMC_CONFIG = NVMC_READ_ONLY;
    ready();
}

void nvm_write(uint32_t to, const uint32_t *from, uint32_t words)
{
    guard(to, 4 * words);
    program((volatile uint32_t *)to, from, words);
}

void nvm_copy_page(uint32_t to, uint32_t from)
{
    nvm_erase(to);
    nvm_write(to, (const uint32_t *)from, PAGE_SIZE / 4);
}

uint32_t counter_read(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < UICR_CUSTOMER_WORDS; i++) {
        for (uint32_t bits = ~REG(UICR_CUSTOMER + 4 * i); bits != 0; bits &= bits - 1) {
            count++;
        }
    }
    return count;
}

void counter_raise(uint32_t to)
{
#ifdef FAULT_COUNTER_NEVER
    to = 0;
#endif
    for (uint32_t i = 0, count = counter_read(); i < UICR_CUSTOMER_WORDS && count < to;) {
        uint32_t word = REG(UICR_CUSTOMER + 4 * i);
        if (word == 0) {
            i++;
            continue;
        }
        word &= word - 1;
        program(&REG(UICR_CUSTOMER + 4 * i), &word, 1);
        count = counter_read();
    }
}

void readback_protect(void)
{
    uint32_t value = REG(UICR_RBPCONF) & UICR_RBPCONF_PALL; /* also ends a write that was cut */
    program(&REG(UICR_RBPCONF), &value, 1);
}

#ifdef FAULT_RESET_UNLOCKS
void uicr_erase(void)
{
    NVMC_CONFIG = NVMC_ERASE;
    ready();
    NVMC_ERASEUICR = 1;
    ready();
    NVMC_CONFIG = NVMC_READ_ONLY;
    ready();
}
#endif
