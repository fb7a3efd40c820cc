/* Calls from a stack that is off by a word, as assembler code may leave it. The C library's functions bear that. Also of C++'s
   operators, where there are any. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Calls f with the stack pointer a word away from where the ABI wants it, below the red zone. The frame is found by rbp,
   because nothing says where rsp is. */
__attribute__((noinline, optimize("no-omit-frame-pointer"))) static uintptr_t
off(void *f, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e, uintptr_t last) {
    register uintptr_t fifth __asm__("r8") = e;
    register uintptr_t sixth __asm__("r9") = last;
    uintptr_t result = (uintptr_t)f;
    __asm__ volatile("mov %%rsp, %%rbx\n\t"
                     "and $-16, %%rsp\n\t"
                     "sub $136, %%rsp\n\t"
                     "call *%%rax\n\t"
                     "mov %%rbx, %%rsp"
                     : "+a"(result), "+D"(a), "+S"(b), "+d"(c), "+c"(d), "+r"(fifth), "+r"(sixth)
                     :
                     : "rbx", "r10", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                       "xmm7");
    return result;
}

__attribute__((noinline)) static uintptr_t deeper(int depth, uintptr_t size) {
    volatile char pad[24];
    pad[0] = 1;
    return depth ? deeper(depth - 1, size) + pad[0] - 1 : off((void *)malloc, size, 0, 0, 0, 0, 0);
}

extern void *_Znwm(size_t) __attribute__((weak));
extern void *_ZnwmSt11align_val_t(size_t, size_t) __attribute__((weak));
extern void _ZdlPv(void *) __attribute__((weak));
extern void _ZdlPvSt11align_val_t(void *, size_t) __attribute__((weak));

static void use_operators(void) {
    if (!_Znwm || !_ZdlPv || !_ZnwmSt11align_val_t || !_ZdlPvSt11align_val_t) return;
    for (int i = 0; i < 100; i++) {
        char *p = (char *)off((void *)_Znwm, 401, 0, 0, 0, 0, 0);
        memset(p, i, 401);
        char *q = (char *)off((void *)_ZnwmSt11align_val_t, 448, 64, 0, 0, 0, 0);
        memset(q, i, 448);
        if ((uintptr_t)q % 64 || p[400] != q[447]) abort();
        off((void *)_ZdlPv, (uintptr_t)p, 0, 0, 0, 0, 0);
        off((void *)_ZdlPvSt11align_val_t, (uintptr_t)q, 64, 0, 0, 0, 0);
        p = _Znwm(403);
        _ZdlPv(memset(p, i, 403));
    }
}

int main(void) {
    uintptr_t sum = 0;
    use_operators();
    for (int i = 0; i < 3000; i++) {
        char *p = (char *)deeper(i % 40, 100);
        memset(p, i, 100);
        char *q = (char *)off((void *)calloc, 3, 67, 0, 0, 0, 0);
        p = (char *)off((void *)realloc, (uintptr_t)p, 302, 0, 0, 0, 0);
        sum += (unsigned char)p[99] + (unsigned char)q[200];
        off((void *)free, (uintptr_t)p, 0, 0, 0, 0, 0);
        off((void *)free, (uintptr_t)q, 0, 0, 0, 0, 0);
    }
    for (int i = 0; i < 100; i++) {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS;
        char *m = (char *)off((void *)mmap, 0, 8192, PROT_READ | PROT_WRITE, flags, -1, 0);
        m = (char *)off((void *)mremap, (uintptr_t)m, 8192, 12288, MREMAP_MAYMOVE, 0, 0);
        m[12287] = 1;
        sum += m[12287] + off((void *)munmap, (uintptr_t)m, 12288, 0, 0, 0, 0);
    }
    printf("%lu\n", (unsigned long)sum);
    return 0;
}
