// Threads that fork, vfork and spawn at the same time, each child allocating or executing something.
#define _GNU_SOURCE
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static int rounds;
static void *work(void *arg) {
    size_t good = 0;
    char *true_command[] = {"/bin/true", NULL};
    for (int i = 0; i < rounds; i++) {
        void *kept = malloc(600 + (size_t)arg);
        pid_t pid = -1;
        switch (i % 3) {
        case 0:
            pid = fork();
            if (pid == 0) {
                free(kept);
                free(malloc(50));
                _exit(0);
            }
            break;
        case 1:
            pid = vfork();
            if (pid == 0) {
                execv(true_command[0], true_command);
                _exit(127);
            }
            break;
        default:
            if (posix_spawn(&pid, true_command[0], NULL, NULL, true_command, environ) != 0) pid = -1;
        }
        int status = 1;
        if (pid > 0) waitpid(pid, &status, 0);
        good += status == 0;
        free(kept);
    }
    return (void *)good;
}
int main(int argc, char **argv) {
    int threads = atoi(argv[1]);
    rounds = atoi(argv[2]);
    pthread_t all[64];
    size_t total = 0;
    for (size_t i = 0; i < threads; i++) pthread_create(&all[i], NULL, work, (void *)i);
    for (int i = 0; i < threads; i++) {
        void *good;
        pthread_join(all[i], &good);
        total += (size_t)good;
    }
    printf("%zu of %d\n", total, threads * rounds);
    return 0;
}
