// The aligned functions, right and wrong; what usable sizes are; sizes beyond what fits a record; functions that only
// newer C libraries have.
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
extern void free_sized(void *, size_t) __attribute__((weak));
extern void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));
static void give(void *p, size_t alignment, size_t size, int i) {
    if (i % 3 == 1 && free_sized) free_sized(p, size);
    else if (i % 3 == 2 && free_aligned_sized) free_aligned_sized(p, alignment, size);
    else free(p);
}
int main(void) {
    volatile size_t huge = PTRDIFF_MAX, odd = 48, zero = 0;
    int wrong = 0, n = 0;
    for (size_t alignment = 8; alignment <= 1 << 16; alignment *= 2)
        for (size_t size = 1; size < 100000; size = size * 3 + 1) {
            void *p = NULL;
            if (posix_memalign(&p, alignment, size) != 0) wrong++;
            wrong += (uintptr_t)p % alignment != 0 || malloc_usable_size(p) < size;
            memset(p, 1, size);
            give(p, alignment, size, n++);
            p = aligned_alloc(alignment, size);
            wrong += (uintptr_t)p % alignment != 0;
            give(p, alignment, size, n++);
            p = memalign(alignment, size);
            wrong += (uintptr_t)p % alignment != 0;
            give(p, alignment, size, n++);
        }
    void *v = valloc(100), *w = pvalloc(100);
    printf("valloc %d pvalloc %d %d\n", (uintptr_t)v % 4096 == 0, (uintptr_t)w % 4096 == 0, malloc_usable_size(w) >= 4096);
    free(v), free(w);
    void *untouched = &wrong, *p = untouched;
    errno = 5;
    printf("posix_memalign 48: %d\n", posix_memalign(&p, odd, 100));
    printf("posix_memalign 0: %d\n", posix_memalign(&p, zero, 100));
    printf("posix_memalign 4: %d\n", posix_memalign(&p, 4, 100));
    printf("posix_memalign huge: %d errno %d untouched %d\n", posix_memalign(&p, 64, huge), errno, p == untouched);
    errno = 0;
    p = memalign(huge / 2 + 2, 100);
    printf("memalign huge %d errno %d\n", p == NULL, errno);
    errno = 0;
    p = aligned_alloc(64, huge);
    printf("aligned_alloc huge %d errno %d\n", p == NULL, errno);
    p = memalign(odd, 100);
    printf("memalign 48 rounds up %d\n", (uintptr_t)p % 64 == 0);
    free(p);
    errno = 0;
    p = pvalloc(huge * 2);
    printf("pvalloc huge %d errno %d\n", p == NULL, errno);
    for (size_t size = 1; size < 100000; size = size * 2 + 3) {
        p = malloc(size);
        printf("%zu ", malloc_usable_size(p));
        free(p);
    }
    printf("null %zu\n", malloc_usable_size(NULL));
    void *large = mmap(NULL, (size_t)1 << 40, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void *larger = mmap(NULL, (size_t)1 << 45, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    printf("2^40 %d 2^45 %d\n", large != MAP_FAILED, larger != MAP_FAILED);
    munmap(large, (size_t)1 << 40);
    munmap(larger, (size_t)1 << 45);
    printf("wrong %d of %d\n", wrong, n);
    return 0;
}
