// Frames that are hard to unwind: alloca with over-aligned locals, no frame pointer, tail calls, callbacks through libc,
// recursion, and two callers whose frames look the same from below.
#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define NOINLINE __attribute__((noinline))
#define KEEP __asm__ volatile("" ::: "memory")
static int calls;
NOINLINE static void leaf(int n) { free(malloc(16 + n)); calls++; KEEP; }
NOINLINE static void same_frame(int n) { leaf(n); KEEP; }
NOINLINE static void caller_one(int n) { same_frame(n); KEEP; }
NOINLINE static void caller_two(int n) { same_frame(n); KEEP; }
NOINLINE static void realigned(int n) {
    _Alignas(64) volatile char buffer[64];
    char *space = alloca(16 + n * 8);
    memset(space, 1, 16 + n * 8);
    buffer[0] = space[3];
    leaf(n);
    buffer[1] = space[7];
    KEEP;
}
NOINLINE static int compare(const void *a, const void *b) {
    leaf(*(const int *)a & 7);
    return *(const int *)a - *(const int *)b;
}
NOINLINE static void tail(int n) { same_frame(n); }
NOINLINE static int recurse(int n) {
    if (n == 0) { leaf(1); return 0; }
    if (n % 7 == 0) realigned(n % 5);
    int r = recurse(n - 1) + 1;
    KEEP;
    return r;
}
int main(int argc, char **argv) {
    int depth = argc > 1 ? atoi(argv[1]) : 100;
    for (int i = 0; i < 2000; i++) {
        if (i % 2) caller_one(i & 3); else caller_two(i & 3);
        realigned(i % 9);
        tail(i & 1);
    }
    int values[200];
    for (int i = 0; i < 200; i++) values[i] = i * 7919 % 200;
    qsort(values, 200, sizeof *values, compare);
    for (int i = 0; i < 20; i++) recurse(depth);
    printf("%d %d\n", values[7], calls > 4000);
    return 0;
}
