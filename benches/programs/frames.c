/* Malloc/free pairs under a chosen stack, for counting instructions.
 *
 *   frames PAIRS DEPTH FRESH POSITIONS
 *
 * Every malloc has DEPTH frames above it, counting its caller and the three of the C library below `main`. FRESH of
 * them, from the leaf on, differ from the stack of the malloc before: two chains of calls alternate whose return
 * addresses are all distinct. They lie at POSITIONS places of the stack in turn, so that with many of them no stack is
 * like one of the last few. FRESH 0 calls malloc from one place, with nothing in between. */
#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>

/* Frames that are there in any case: main and __libc_start_call_main, __libc_start_main, _start. */
enum { FRAMES_OF_MAIN = 4, BLOCK = 64 };

static long pairs, positions;
static int fresh;

/* Keeps a call from becoming a jump, and two calls from becoming one. */
#define KEEP(n) __asm__ volatile("# " #n ::: "memory")

static inline __attribute__((always_inline)) void pair(void) {
    void *p = malloc(BLOCK);
    __asm__ volatile("" ::"r"(p) : "memory");
    free(p);
}

__attribute__((noinline)) static void chain(int frames, int odd) {
    if (frames > 1) {
        if (odd) {
            chain(frames - 1, odd);
            KEEP(odd);
        } else {
            chain(frames - 1, odd);
            KEEP(even);
        }
    } else if (odd) {
        pair();
        KEEP(odd);
    } else {
        pair();
        KEEP(even);
    }
}

/* The outermost of the fresh frames: moves the others. */
__attribute__((noinline)) static void shifted(int frames, int odd, long position) {
    void *room = alloca(16 * (position + 1));
    __asm__ volatile("" ::"r"(room) : "memory");
    if (frames > 1)
        chain(frames - 1, odd);
    else if (odd) {
        pair();
        KEEP(odd);
    } else {
        pair();
        KEEP(even);
    }
    KEEP(end);
}

__attribute__((noinline)) static void repeat(void) {
    if (fresh == 0) {
        for (long i = 0; i < pairs; i++) pair();
    } else {
        for (long i = 0; i < pairs; i++) shifted(fresh, i & 1, i / 2 % positions);
    }
    KEEP(end);
}

__attribute__((noinline)) static void descend(int frames) {
    if (frames > 0)
        descend(frames - 1);
    else
        repeat();
    KEEP(end);
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    pairs = atol(argv[1]);
    int depth = atoi(argv[2]);
    fresh = atoi(argv[3]);
    positions = atol(argv[4]);
    /* Less `repeat`, the first `descend` and the fresh ones. */
    int between = depth - FRAMES_OF_MAIN - 2 - fresh;
    if (between < 0) {
        fputs("the stack is too shallow for so many fresh frames\n", stderr);
        return 2;
    }
    descend(between);
    return 0;
}
