// Threads hand blocks to each other and change their sizes in every way there is, failing ones too. Writes how often what
// succeeded to the file it is given, so that a recording can be compared with it.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
enum { SLOTS = 256, FRESH, RESIZED, FREED, COUNTERS };
static _Atomic(void *) slots[SLOTS];
static atomic_long counts[COUNTERS];
static int rounds;
static void put(void *p, unsigned slot) {
    void *old = atomic_exchange(&slots[slot], p);
    if (old) {
        counts[FREED]++;
        free(old);
    }
}
static void *work(void *arg) {
    uint64_t state = 88172645463325252u + (uintptr_t)arg * 7919;
    volatile size_t huge = PTRDIFF_MAX, zero = 0;
    for (int i = 0; i < rounds; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        unsigned slot = state % SLOTS;
        size_t size = 2000 + (state >> 20) % ((state >> 50) % 16 == 0 ? 300000 : 3000);
        void *p = atomic_exchange(&slots[slot], NULL), *q;
        switch ((state >> 40) % 8) {
        case 0: // fails and leaves the block alone
            if (p && (realloc(p, huge) || errno != ENOMEM)) abort();
            if (p) put(p, slot);
            break;
        case 1:
            if (p && (reallocarray(p, huge, 8) || errno != ENOMEM)) abort();
            if (p) put(p, slot);
            break;
        case 2: // frees
            if (!p) break;
            q = realloc(p, zero);
            if (q) abort();
            counts[FREED]++;
            break;
        case 3:
            q = reallocarray(p, size / 100 + 1, 100);
            counts[p ? RESIZED : FRESH]++;
            put(q, slot);
            break;
        default:
            q = realloc(p, size);
            counts[p ? RESIZED : FRESH]++;
            ((char *)q)[0] = 1;
            put(q, slot);
        }
    }
    return NULL;
}
int main(int argc, char **argv) {
    int threads = atoi(argv[1]);
    rounds = atoi(argv[2]);
    pthread_t all[64];
    for (size_t i = 0; i < threads; i++) pthread_create(&all[i], NULL, work, (void *)i);
    for (int i = 0; i < threads; i++) pthread_join(all[i], NULL);
    for (int i = 0; i < SLOTS; i++) put(NULL, i);
    FILE *file = fopen(argv[3], "w");
    fprintf(file, "%ld %ld %ld\n", counts[FRESH], counts[RESIZED], counts[FREED]);
    fclose(file);
    puts("done");
    return 0;
}
