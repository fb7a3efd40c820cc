// A library whose dependency lies beside it: a dlopen that came from somewhere else than the program would not find it.
#include <stdlib.h>
extern void *allocate_in_dependency(void);
static void *kept;
__attribute__((constructor)) static void load_plugin(void) { kept = malloc(513); }
__attribute__((destructor)) static void unload_plugin(void) { free(kept); }
void *allocate_in_plugin(void) {
    void *p = allocate_in_dependency();
    __asm__ volatile("" ::: "memory"); // no tail call
    return p;
}
