// Ends in the way named by its argument, with blocks live and allocations under way.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void *storm(void *arg) {
    for (;;) free(malloc(16 + (size_t)arg));
    return NULL;
}
static int overflow(int n) {
    volatile char space[4096];
    space[n % 4096] = (char)n;
    free(malloc(32));
    return overflow(n + 1) + space[0];
}
int main(int argc, char **argv) {
    char *keep = strdup("kept");
    for (int i = 0; i < 1000; i++) free(malloc(i));
    pthread_t thread;
    if (strcmp(argv[1], "overflow") != 0)
        for (size_t i = 0; i < 3; i++) pthread_create(&thread, NULL, storm, (void *)i);
    puts(keep);
    fflush(stdout);
    if (strcmp(argv[1], "abort") == 0) abort();
    if (strcmp(argv[1], "kill") == 0) raise(SIGKILL);
    if (strcmp(argv[1], "segv") == 0) *(volatile int *)8 = 1;
    if (strcmp(argv[1], "term") == 0) raise(SIGTERM);
    if (strcmp(argv[1], "_exit") == 0) _exit(5);
    if (strcmp(argv[1], "quick_exit") == 0) quick_exit(6);
    if (strcmp(argv[1], "overflow") == 0) return overflow(0);
    if (strcmp(argv[1], "thread_exit") == 0) { exit(8); }
    return 4;
}
