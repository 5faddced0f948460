#ifndef MAIN_H
#define MAIN_H

_Noreturn void boot(void);

#endif
