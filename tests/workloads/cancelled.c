// Threads that are cancelled while they allocate, with clean-up handlers that free; siglongjmp out of a fault, and out of
// a handler on an alternate stack, over frames that hold memory.
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void clean(void *p) { free(p); }
__attribute__((noinline)) static void below(int n) {
    void *p = malloc(800 + n);
    pthread_cleanup_push(clean, p);
    if (n > 0) below(n - 1);
    else for (;;) {
        free(malloc(90));
        pthread_testcancel();
    }
    pthread_cleanup_pop(1);
}
static void *work(void *arg) {
    below(20);
    return arg;
}
static sigjmp_buf out;
static void fault(int number) {
    free(malloc(91));
    siglongjmp(out, number);
}
__attribute__((noinline)) static void touch_nothing(int n) {
    volatile char space[200];
    space[n] = (char)n;
    free(malloc(92));
    if (n == 0) *(volatile int *)8 = 1;
    touch_nothing(n - 1);
    space[n]++;
}
int main(void) {
    int cancelled = 0, jumps = 0;
    for (int round = 0; round < 20; round++) {
        pthread_t threads[8];
        for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, work, NULL);
        usleep(500);
        for (int i = 0; i < 8; i++) pthread_cancel(threads[i]);
        for (int i = 0; i < 8; i++) {
            void *result;
            pthread_join(threads[i], &result);
            cancelled += result == PTHREAD_CANCELED;
        }
    }
    stack_t stack = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
    for (int i = 0; i < 300; i++) {
        if (i == 150) sigaltstack(&stack, NULL);
        struct sigaction action = {.sa_handler = fault, .sa_flags = i < 150 ? 0 : SA_ONSTACK};
        sigaction(SIGSEGV, &action, NULL);
        if (sigsetjmp(out, 1) == 0) touch_nothing(i % 30);
        else jumps++;
    }
    printf("%d cancelled, %d jumps\n", cancelled, jumps);
    return 0;
}
