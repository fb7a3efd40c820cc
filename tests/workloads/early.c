// Allocation before main: constructors, and functions called by the loader while libraries are set up.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *before;

__attribute__((constructor(101))) static void first(void) { before = strdup("made in a constructor"); }
__attribute__((destructor(101))) static void last(void) { free(malloc(77)); }
static void at_exit(void) { free(malloc(78)); }

int main(void) {
    atexit(at_exit);
    printf("%s\n", before);
    free(before);
    return 3;
}
