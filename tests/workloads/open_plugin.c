// Opens a library lazily bound, whose dependency is found by RUNPATH, and calls through both.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    for (int i = 0; i < 20; i++) {
        void *library = dlopen(argv[1], RTLD_LAZY | RTLD_LOCAL);
        if (!library) {
            puts(dlerror());
            return 1;
        }
        void *(*allocate)(void) = (void *(*)(void))dlsym(library, "allocate_in_plugin");
        for (int k = 0; k < 10; k++) free(allocate());
        dlclose(library);
    }
    puts("done");
    return 0;
}
