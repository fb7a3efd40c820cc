// Closes every descriptor it does not know, lowers its limits, and goes on allocating; then becomes a daemon.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    for (int fd = 3; fd < 1024; fd++) close(fd);
    close_range(3, ~0u, 0);
    int fd = open("/dev/null", O_RDONLY);
    printf("next descriptor %d\n", fd);
    struct rlimit files = {4, 4};
    setrlimit(RLIMIT_NOFILE, &files);
    for (int i = 0; i < 100000; i++) free(malloc(i % 3000));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        for (int i = 0; i < 1000; i++) free(malloc(i));
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("child %d\n", WEXITSTATUS(status));
    return 0;
}
