// A timer signal at a high rate whose handler allocates, on the thread's stack or on an alternate one, while the program
// allocates: handlers interrupt hooks at any instruction.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
static volatile sig_atomic_t hits;
static void *kept[64];
static volatile sig_atomic_t in_malloc;
static void handler(int number) {
    (void)number;
    hits++;
    // Allocating is only sound when the allocator itself was not interrupted.
    if (!in_malloc) {
        free(kept[hits % 64]);
        kept[hits % 64] = malloc(100 + hits % 50);
    }
}
int main(int argc, char **argv) {
    int alternate = argc > 1 && strcmp(argv[1], "alternate") == 0;
    if (alternate) {
        stack_t stack = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
        sigaltstack(&stack, NULL);
    }
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART | (alternate ? SA_ONSTACK : 0)};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 100}, {0, 100}};
    setitimer(ITIMER_REAL, &timer, NULL);
    while (hits < 3000) {
        in_malloc = 1;
        void *p = malloc(50);
        in_malloc = 0;
        for (volatile int i = 0; i < 200; i++) {}
        in_malloc = 1;
        free(p);
        in_malloc = 0;
    }
    memset(&timer, 0, sizeof timer);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (int i = 0; i < 64; i++) free(kept[i]);
    puts("3000 signals");
    return 0;
}
