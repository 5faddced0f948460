#ifndef NVM_H
#define NVM_H

#include <stdint.h>

/* Erases the 1 KiB page at `page`. */
void nvm_erase(uint32_t page);
/* Programs `words` words at `to`; words that are already right, or erased in the source, cost no operation. */
void nvm_write(uint32_t to, const uint32_t *from, uint32_t words);
/* Erases the page at `to` and copies the page at `from` into it. */
void nvm_copy_page(uint32_t to, uint32_t from);

/* The anti-rollback counter: how many bits of UICR.CUSTOMER are cleared. */
uint32_t counter_read(void);
/* Raises the counter bit by bit, so that a cut leaves a value in between and never a lower one. */
void counter_raise(uint32_t to);

#ifdef FAULT_RESET_UNLOCKS
/* Erases all of UICR, the counter and the lock of the debug port with it. */
void uicr_erase(void);
#endif

/* Closes the code flash to the debugger (UICR.RBPCONF, all regions) from the next reset on; nothing happens when it is closed. */
void readback_protect(void);

#endif
