// Forks in four ways while other threads allocate; children allocate and leave in different ways.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
extern pid_t _Fork(void);
static volatile int stop;
static void *storm(void *arg) {
    while (!stop) free(malloc(16 + (size_t)arg));
    return NULL;
}
static pid_t split(int i) {
    switch (i % 4) {
    case 0: return fork();
    case 1: return _Fork();
    case 2: return (pid_t)syscall(SYS_fork);
    default: return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    }
}
int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 50, count = argc > 2 ? atoi(argv[2]) : 8, good = 0;
    pthread_t threads[64];
    for (size_t i = 0; i < count; i++) pthread_create(&threads[i], NULL, storm, (void *)(i * 8));
    for (int i = 0; i < rounds; i++) {
        void *inherited = malloc(1000 + i);
        pid_t pid = split(i);
        if (pid == 0) {
            free(inherited);
            for (int k = 0; k < 100; k++) free(malloc(k));
            if (i / 4 % 2 || i % 4) _exit(7);
            exit(7);
        }
        int status;
        waitpid(pid, &status, 0);
        good += WIFEXITED(status) && WEXITSTATUS(status) == 7;
        free(inherited);
    }
    stop = 1;
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    printf("%d of %d children ended well\n", good, rounds);
    return good != rounds;
}
