// A child unloads what its parent used, and loads another library at (as a rule) the same address; its own child comes back
// to the first. With a third argument it unloads as glibc does on its own behalf: not by the `dlclose` that programs see.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void *library, *(*allocate)(void);
static int (*unload)(void *) = dlclose;
static void change(const char *path) {
    if (library) unload(library);
    library = dlopen(path, RTLD_NOW);
    if (!library) { puts("cannot load"); exit(1); }
    void *before = allocate;
    allocate = (void *(*)(void))dlsym(library, "allocate_in_frame");
    if (allocate == before) free(malloc(888)); // says that the one is where the other was
}
static void use(void) {
    for (int i = 0; i < 10; i++) free(allocate());
}
int main(int argc, char **argv) {
    if (argc > 3) unload = (int (*)(void *))dlsym(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), "dlclose");
    change(argv[1]);
    use();
    fflush(stdout);
    for (int i = 0; i < 6; i++) {
        pid_t child = fork();
        if (child != 0) {
            int status = 1;
            waitpid(child, &status, 0);
            return status != 0;
        }
        // What a recorder maps in a child is mapped now, and not where the library lay; or the loader comes first.
        if (i % 3 != 2) free(malloc(777));
        change(argv[1 + (i + 1) % 2]);
        use();
    }
    puts("done");
    return 0;
}
