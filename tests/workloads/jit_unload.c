// Code made at run time where a library lay that has been unloaded, past the `dlclose` that programs see. With a second
// argument it is moved there and not written there.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
enum { ALL = PROT_READ | PROT_WRITE | PROT_EXEC };
static void *(*allocate)(void);
static unsigned char *returns_to;
__attribute__((noinline)) void *allocate_for(size_t size) {
    returns_to = __builtin_return_address(0);
    void *p = malloc(size);
    __asm__ volatile("" ::: "memory"); // no tail call
    return p;
}
__attribute__((noinline)) static void use(void) {
    for (int i = 0; i < 10; i++) free(allocate());
}
int main(int argc, char **argv) {
    void *library = dlopen(argv[1], RTLD_NOW);
    int (*unload)(void *) = (int (*)(void *))dlsym(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), "dlclose");
    if (!library || !unload) { puts("cannot load"); return 1; }
    allocate = (void *(*)(void))dlsym(library, "allocate_in_frame");
    use();
    // push rbp; mov rbp, rsp; mov edi, 555; movabs rax, allocate_for; call rax; pop rbp; ret
    unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xbf, 0x2b, 2, 0, 0, 0x48, 0xb8,
                            0,    0,    0,    0,    0,    0,    0, 0, 0xff, 0xd0, 0x5d, 0xc3};
    void *(*to)(size_t) = allocate_for;
    memcpy(code + 11, &to, 8);
    // So that the call returns to where the library's returned.
    unsigned char *where = returns_to, *start = where - 21, *page = (unsigned char *)((size_t)start & ~4095ul), *memory;
    unload(library);
    if (argc > 2) {
        unsigned char *elsewhere = mmap(NULL, 8192, ALL, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (elsewhere == MAP_FAILED) { puts("cannot map"); return 1; }
        memcpy(elsewhere + (start - page), code, sizeof code);
        memory = mremap(elsewhere, 8192, 8192, MREMAP_MAYMOVE | MREMAP_FIXED, page);
    } else {
        memory = mmap(page, 8192, ALL, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (memory == page) memcpy(start, code, sizeof code);
    }
    if (memory != page) { puts("cannot map there"); return 1; }
    allocate = (void *(*)(void))start;
    use();
    puts(returns_to == where ? "done" : "it returns elsewhere");
    return 0;
}
