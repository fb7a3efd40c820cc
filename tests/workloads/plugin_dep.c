// What plugin.c depends on: found by its RUNPATH only, and it allocates while it is loaded.
#include <stdlib.h>
static void *kept;
__attribute__((constructor)) static void load_dependency(void) { kept = malloc(511); }
__attribute__((destructor)) static void unload_dependency(void) { free(kept); }
void *allocate_in_dependency(void) {
    void *p = malloc(512);
    __asm__ volatile("" ::: "memory"); // no tail call
    return p;
}
