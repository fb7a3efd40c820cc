/* Many threads that do nothing but allocate and free.
 *
 *   storm THREADS PAIRS
 *
 * PAIRS in all, sizes from 16 to 2,000 bytes, each thread with KEPT live blocks of which a random one is replaced, from
 * four call sites that take turns at random. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEPT = 64, MAX_THREADS = 64 };

#define KEEP(n) __asm__ volatile("# " #n ::: "memory")

struct worker {
    pthread_t thread;
    long pairs;
    unsigned long random, sum;
};

__attribute__((noinline)) static char *make(size_t size) {
    char *p = malloc(size);
    KEEP(leaf);
    return p;
}

__attribute__((noinline)) static char *choose(unsigned long choice, size_t size) {
    char *p;
    switch (choice & 3) {
    case 0: p = make(size); KEEP(a); return p;
    case 1: p = make(size); KEEP(b); return p;
    case 2: p = make(size); KEEP(c); return p;
    default: p = make(size); KEEP(d); return p;
    }
}

static void *run(void *argument) {
    struct worker *w = argument;
    char *kept[KEPT] = {0};
    for (long i = 0; i < w->pairs; i++) {
        w->random ^= w->random << 13;
        w->random ^= w->random >> 7;
        w->random ^= w->random << 17;
        unsigned long r = w->random;
        char **place = &kept[r % KEPT];
        if (*place) w->sum += (unsigned char)**place;
        free(*place);
        *place = choose(r >> 8, 16 + (r >> 16) % 1984);
        **place = (char)(r >> 32);
    }
    for (int i = 0; i < KEPT; i++) free(kept[i]);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    static struct worker workers[MAX_THREADS];
    int threads = atoi(argv[1]);
    if (threads < 1 || threads > MAX_THREADS) return 2;
    unsigned long sum = 0;
    for (int i = 0; i < threads; i++) {
        workers[i] = (struct worker){.pairs = atol(argv[2]) / threads, .random = 88172645463325252UL + i};
        if (pthread_create(&workers[i].thread, NULL, run, &workers[i])) return 1;
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        sum += workers[i].sum;
    }
    printf("%lu\n", sum);
    return 0;
}
