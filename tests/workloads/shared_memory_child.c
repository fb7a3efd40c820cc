// Children that share the parent's memory: vfork, and clone with a stack of their own. What they allocate the parent
// frees; one of them is killed in the middle of its work.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void *made[3];
static int child(void *arg) {
    (void)arg;
    for (int i = 0; i < 100; i++) free(malloc(60 + i % 10));
    made[0] = malloc(701);
    return 5;
}
static int killed(void *arg) {
    made[1] = malloc(702);
    raise(SIGKILL);
    return *(int *)arg;
}
int main(void) {
    int status, sum = 0;
    char *stack = malloc(1 << 17);
    for (int i = 0; i < 50; i++) {
        pid_t pid = clone(i % 5 == 4 ? killed : child, stack + (1 << 17), CLONE_VM | CLONE_VFORK | SIGCHLD, &sum);
        waitpid(pid, &status, 0);
        sum += WIFEXITED(status) ? WEXITSTATUS(status) : 100;
        free(made[0]), free(made[1]);
        made[0] = made[1] = NULL;
        pid = vfork();
        if (pid == 0) {
            made[2] = malloc(703);
            _exit(3);
        }
        waitpid(pid, &status, 0);
        sum += WEXITSTATUS(status);
        free(made[2]);
    }
    free(stack);
    printf("%d\n", sum);
    return 0;
}
