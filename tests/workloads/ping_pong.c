// Blocks change threads at full rate, so the same address is freed by one thread and handed out to another at once.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
static _Atomic(void *) slots[64];
static int rounds;
static void *run(void *arg) {
    unsigned x = (unsigned)(size_t)arg * 2654435761u + 1;
    for (int i = 0; i < rounds; i++) {
        x ^= x << 13, x ^= x >> 17, x ^= x << 5;
        free(atomic_exchange(&slots[x % 64], malloc(24 + x % 2 * 2000)));
        if (x % 16 == 0) {
            void *p = atomic_exchange(&slots[(x >> 8) % 64], NULL);
            void *q = realloc(p, 24 + (x >> 16) % 3000);
            free(atomic_exchange(&slots[(x >> 8) % 64], q));
        }
    }
    return NULL;
}
int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 8;
    rounds = argc > 2 ? atoi(argv[2]) : 100000;
    pthread_t threads[64];
    for (size_t i = 0; i < (size_t)n; i++) pthread_create(&threads[i], NULL, run, (void *)(i + 1));
    for (int i = 0; i < n; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 64; i++) free(slots[i]);
    puts("done");
    return 0;
}
