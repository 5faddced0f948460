#ifndef RECOVERY_H
#define RECOVERY_H

/* No image can be started: wait for a genuine one on the console. */
_Noreturn void recovery(void);

#endif
