// Executes itself again and again: from a thread, with the environment as it is, and at last with none.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern char **environ;
static char **again;
static void *from_thread(void *arg) {
    free(malloc(1300));
    execve("/proc/self/exe", again, environ);
    return arg;
}
int main(int argc, char **argv) {
    int left = argc > 1 ? atoi(argv[1]) : 6;
    char number[16];
    snprintf(number, sizeof number, "%d", left - 1);
    char *arguments[] = {argv[0], number, NULL}, *nothing[] = {NULL};
    again = arguments;
    void *live = malloc(1200 + left);
    printf("%d\n", left);
    fflush(stdout);
    if (left == 0) return live ? 6 : 1;
    if (left == 1) execve("/proc/self/exe", arguments, nothing);
    if (left % 2) execve("/proc/self/exe", arguments, environ);
    pthread_t thread;
    pthread_create(&thread, NULL, from_thread, NULL);
    pthread_join(thread, NULL);
    return 1;
}
