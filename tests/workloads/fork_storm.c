// Forks while other threads allocate; children allocate and leave in different ways.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int stop;
static void *storm(void *arg) {
    while (!stop) free(malloc(16 + (size_t)arg));
    return NULL;
}
int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 50, good = 0;
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++) pthread_create(&threads[i], NULL, storm, (void *)(i * 8));
    for (int i = 0; i < rounds; i++) {
        void *inherited = malloc(1000 + i);
        pid_t pid = i % 3 == 2 ? (pid_t)syscall(SYS_fork) : fork();
        if (pid == 0) {
            free(inherited);
            for (int k = 0; k < 100; k++) free(malloc(k));
            if (i % 2) _exit(7);
            exit(7);
        }
        int status;
        waitpid(pid, &status, 0);
        good += WIFEXITED(status) && WEXITSTATUS(status) == 7;
        free(inherited);
    }
    stop = 1;
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    printf("%d of %d children ended well\n", good, rounds);
    return good != rounds;
}
