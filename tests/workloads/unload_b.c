// Another library of the same size and layout, so that the loader puts it where unload_a was.
#include <stdlib.h>
static void *kept;
__attribute__((constructor)) static void load(void) { kept = malloc(333); }
__attribute__((destructor)) static void unload(void) { free(kept); }
void *allocate_elsewhere_(void) {
    void *p = calloc(1, 444);
    __asm__ volatile("" ::: "memory"); // no tail call
    return p;
}
