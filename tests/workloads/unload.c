// Loads two libraries in turn at (as a rule) the same address; stacks must name the one that is loaded.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
static void use(const char *path, const char *symbol) {
    void *library = dlopen(path, RTLD_NOW);
    if (!library) { puts("cannot load"); exit(1); }
    void *(*allocate)(void) = (void *(*)(void))dlsym(library, symbol);
    for (int i = 0; i < 10; i++) free(allocate());
    dlclose(library);
}
int main(int argc, char **argv) {
    for (int i = 0; i < 100; i++) {
        use(argv[1], "allocate_in_library");
        use(argv[2], "allocate_elsewhere_");
    }
    puts("done");
    return 0;
}
