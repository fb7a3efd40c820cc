// Coroutines that are resumed by one thread after the other and allocate in each: the stack moves between threads.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
enum { COROUTINES = 8, THREADS = 4, TURNS = 50 };
static ucontext_t coroutines[COROUTINES];
// Where the thread that resumes a coroutine waits for it. Not thread-local: the coroutine would read a cached address.
static ucontext_t resumers[COROUTINES];
static int turns[COROUTINES];
__attribute__((noinline)) static void inside(int which, int depth) {
    if (depth > 0) {
        inside(which, depth - 1);
        __asm__ volatile("" ::: "memory");
        return;
    }
    free(malloc(400 + which));
    swapcontext(&coroutines[which], &resumers[which]);
    free(malloc(410 + which));
}
static void body(int which) {
    for (;;) inside(which, turns[which]++ % 7);
}
static void *resume_all(void *arg) {
    for (int i = 0; i < COROUTINES; i++) {
        free(malloc(430));
        swapcontext(&resumers[i], &coroutines[i]);
        free(malloc(431));
    }
    return arg;
}
int main(void) {
    for (int i = 0; i < COROUTINES; i++) {
        getcontext(&coroutines[i]);
        coroutines[i].uc_stack.ss_sp = malloc(1 << 16);
        coroutines[i].uc_stack.ss_size = 1 << 16;
        makecontext(&coroutines[i], (void (*)(void))body, 1, i);
    }
    int total = 0;
    for (int turn = 0; turn < TURNS; turn++) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) {
            pthread_create(&threads[i], NULL, resume_all, NULL);
            pthread_join(threads[i], NULL);
        }
    }
    for (int i = 0; i < COROUTINES; i++) total += turns[i];
    printf("%d turns\n", total);
    return 0;
}
