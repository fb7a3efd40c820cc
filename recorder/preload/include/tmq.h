/* Names moments of a recording from inside the recorded program.
 *
 *     #include "tmq.h"
 *     ...
 *     TMQ_MARK("loaded");            then: tmq top @mark:loaded
 *
 * Nothing has to be linked: the symbol is weak, and the program runs without tmq as before. Any thread may mark, at any
 * time but in a signal handler that interrupted a mark. Names longer than 200 bytes are cut. */
#ifndef TMQ_H
#define TMQ_H

#ifdef __cplusplus
extern "C"
#else
extern
#endif
void tmq_mark(const char *name) __attribute__((weak));

#define TMQ_MARK(name)          \
    do {                        \
        if (tmq_mark)           \
            tmq_mark(name);     \
    } while (0)

#endif
