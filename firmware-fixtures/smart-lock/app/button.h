#ifndef BUTTON_H
#define BUTTON_H

#include <stdbool.h>

void button_start(void);
/* True once the button has been down for 10 s without a break, having been up before. To be called at least once per tick. */
bool button_held(void);

#endif
