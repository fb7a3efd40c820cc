// Results, alignment and errno of every allocation function in its corner cases, printed.
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static void show(const char *what, const void *p, int error) { printf("%s %s errno %d\n", what, p ? "block" : "null", error); }
#define TRY(expression) do { errno = 0; void *p_ = (expression); int e_ = errno; show(#expression, p_, e_); free(p_); } while (0)
int main(void) {
    volatile size_t huge = (size_t)PTRDIFF_MAX, zero = 0;
    TRY(malloc(zero));
    TRY(malloc(huge));
    TRY(malloc(SIZE_MAX - zero));
    TRY(calloc(zero, 8));
    TRY(calloc(huge, 16));
    TRY(calloc(100, 100));
    TRY(realloc(NULL, zero));
    TRY(realloc(NULL, 100));
    TRY(reallocarray(NULL, huge, 4));
    TRY(reallocarray(NULL, 10, 4));
    TRY(aligned_alloc(64, 640));
    TRY(memalign(4096, 10));
    TRY(valloc(10));
    TRY(pvalloc(10));
    char *p = malloc(100);
    memset(p, 'x', 100);
    errno = 0;
    printf("failed realloc %d errno %d keeps %c\n", realloc(p, huge) == NULL, errno, p[99]);
    p = realloc(p, 100000);
    printf("grown keeps %c usable %d\n", p[99], malloc_usable_size(p) >= 100000);
    printf("realloc to zero %d\n", realloc(p, zero) == NULL);
    void *q = (void *)1;
    errno = 0;
    printf("posix_memalign of 3: %d errno %d untouched %d\n", posix_memalign(&q, 3, 10), errno, q == (void *)1);
    printf("posix_memalign of 128: %d aligned %d\n", posix_memalign(&q, 128, 10), (uintptr_t)q % 128 == 0);
    errno = 77;
    free(q);
    printf("errno after free %d\n", errno);
    free(NULL);
    errno = 0;
    void *big = malloc((size_t)1 << 33);
    printf("8 GiB %s\n", big ? "block" : "null");
    free(big);
    char *map = mmap(NULL, 10 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(map + 3 * 4096, 2 * 4096);
    map[0] = map[9 * 4096] = 1;
    munmap(map, 3 * 4096);
    char *moved = mremap(map + 5 * 4096, 5 * 4096, 50 * 4096, MREMAP_MAYMOVE);
    printf("mremap %d\n", moved[4 * 4096] == 1);
    munmap(moved, 50 * 4096);
    errno = 0;
    printf("bad munmap %d errno %d\n", munmap((void *)1, 4096), errno);
    printf("bad mmap %d errno %d\n", mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED, errno);
    return 0;
}
