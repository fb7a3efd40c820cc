// A library that allocates in its constructor and on demand.
#include <stdlib.h>
static void *kept;
__attribute__((constructor)) static void load(void) { kept = malloc(111); }
__attribute__((destructor)) static void unload(void) { free(kept); }
void *allocate_in_library(void) {
    void *p = calloc(1, 222);
    __asm__ volatile("" ::: "memory"); // no tail call
    return p;
}
