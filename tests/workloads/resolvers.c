// Allocates before anything of the program runs: in the function that chooses an implementation while the loader links,
// in constructors of a hundred libraries, and in preinit functions.
#include <stdio.h>
#include <stdlib.h>
static int chosen(void) { return 7; }
__attribute__((noinline)) static void *resolve(void) {
    free(malloc(612));
    return (void *)chosen;
}
int choose(void) __attribute__((ifunc("resolve")));
static void earliest(void) { free(malloc(613)); }
__attribute__((section(".preinit_array"), used)) static void (*preinit)(void) = earliest;
int main(void) {
    printf("%d\n", choose());
    return 0;
}
