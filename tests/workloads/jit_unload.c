// Code made at run time where a library lay that has been unloaded, past the `dlclose` that programs see.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
static void *(*allocate)(void);
static void *returns_to;
__attribute__((noinline)) static void use(void) {
    for (int i = 0; i < 10; i++) free(allocate());
}
int main(int argc, char **argv) {
    void *library = dlopen(argv[1], RTLD_NOW);
    int (*unload)(void *) = (int (*)(void *))dlsym(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), "dlclose");
    if (!library || !unload) { puts("cannot load"); return 1; }
    allocate = (void *(*)(void))dlsym(library, "allocate_in_frame");
    use();
    // Behind the first call instruction (the code before it has no such byte).
    unsigned char *call = memchr((void *)allocate, 0xe8, 64);
    if (!call) { puts("no call"); return 1; }
    returns_to = call + 5;
    unload(library);
    // push rbp; mov rbp, rsp; mov edi, 555; movabs rax, malloc; call rax; pop rbp; ret
    unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xbf, 0x2b, 2, 0, 0, 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xd0, 0x5d, 0xc3};
    void *(*to)(size_t) = malloc;
    memcpy(code + 11, &to, 8);
    unsigned char *start = (unsigned char *)returns_to - 21, *page = (unsigned char *)((size_t)start & ~4095ul);
    unsigned char *memory = mmap(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (memory != page) { puts("cannot map"); return 1; }
    memcpy(start, code, sizeof code);
    allocate = (void *(*)(void))start;
    use();
    puts("done");
    return 0;
}
