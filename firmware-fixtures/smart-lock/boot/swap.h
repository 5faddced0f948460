/* Exchanging the two slots, page by page, over a scratch page. */
#ifndef SWAP_H
#define SWAP_H

#include <stdbool.h>
#include <stdint.h>

/* Opens a swap in the boot state. `revert`: the old image comes back. */
void swap_begin(bool revert);
/* Carries out what is left of the swap that `record` describes and appends the state that follows it. */
void swap_finish(uint32_t record);

#endif
