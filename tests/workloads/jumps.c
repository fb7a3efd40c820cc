// longjmp over frames that allocated, out of signal handlers too, and coroutines on stacks of their own.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
static jmp_buf back;
static sigjmp_buf out;
__attribute__((noinline)) static void deep(int n) {
    void *p = malloc(10 + n);
    free(p);
    if (n == 0) longjmp(back, 1);
    deep(n - 1);
    __asm__ volatile("");
}
static void handler(int number) {
    (void)number;
    free(malloc(99));
    siglongjmp(out, 1);
}
static ucontext_t main_context, coroutine;
static int turns;
static void body(void) {
    for (;;) {
        free(malloc(200 + turns % 10));
        turns++;
        swapcontext(&coroutine, &main_context);
    }
}
int main(void) {
    for (int i = 0; i < 1000; i++)
        if (setjmp(back) == 0) deep(i % 50);
    signal(SIGUSR1, handler);
    for (int i = 0; i < 200; i++)
        if (sigsetjmp(out, 1) == 0) raise(SIGUSR1);
    for (int round = 0; round < 20; round++) {
        char *stack = malloc(1 << 16);
        getcontext(&coroutine);
        coroutine.uc_stack.ss_sp = stack;
        coroutine.uc_stack.ss_size = 1 << 16;
        coroutine.uc_link = &main_context;
        makecontext(&coroutine, body, 0);
        for (int i = 0; i < 50; i++) {
            swapcontext(&main_context, &coroutine);
            free(malloc(300));
        }
        free(stack);
    }
    printf("%d turns\n", turns);
    return 0;
}
