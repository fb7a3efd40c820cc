// 2^17 distinct paths of calls: every bit of a number picks one of two functions.
#include <stdio.h>
#include <stdlib.h>
#define KEEP __asm__ volatile("" ::: "memory")
__attribute__((noinline)) static void zero(unsigned path, int bits);
__attribute__((noinline)) static void one(unsigned path, int bits);
static inline __attribute__((always_inline)) void step(unsigned path, int bits) {
    if (bits == 0) { free(malloc(24)); return; }
    if (path & 1) one(path >> 1, bits - 1); else zero(path >> 1, bits - 1);
    KEEP;
}
static void zero(unsigned path, int bits) { step(path, bits); KEEP; }
static void one(unsigned path, int bits) { step(path, bits); KEEP; }
int main(void) {
    for (unsigned path = 0; path < 1u << 17; path++) step(path, 17);
    puts("done");
    return 0;
}
