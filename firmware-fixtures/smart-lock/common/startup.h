/* What both programs do first: RAM as the C code expects it. */
#ifndef STARTUP_H
#define STARTUP_H

#include <stdint.h>

extern uint32_t link_data_from[], link_data[], link_data_end[], link_bss[], link_bss_end[], link_stack[];

static inline void startup_ram(void)
{
    const uint32_t *from = link_data_from;
    for (volatile uint32_t *to = link_data; to != link_data_end; to++) {
        *to = *from++;
    }
    for (volatile uint32_t *to = link_bss; to != link_bss_end; to++) {
        *to = 0;
    }
}

#endif
