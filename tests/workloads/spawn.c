// Every way to start a program: vfork and exec, posix_spawn, system, popen, exec of itself.
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "again") == 0) {
        free(malloc(4321));
        puts("again");
        return 9;
    }
    char *args[] = {"/bin/echo", "spawned", NULL};
    int status;
    fflush(stdout);
    pid_t pid = vfork();
    if (pid == 0) { execv(args[0], args); _exit(127); }
    waitpid(pid, &status, 0);
    posix_spawn(&pid, args[0], NULL, NULL, args, environ);
    waitpid(pid, &status, 0);
    if (system("echo from system") != 0) return 1;
    FILE *pipe = popen("echo from popen", "r");
    char line[64];
    if (fgets(line, sizeof line, pipe)) fputs(line, stdout);
    pclose(pipe);
    fflush(stdout);
    char *self[] = {argv[0], "again", NULL};
    free(malloc(1234));
    execv("/proc/self/exe", self);
    return 1;
}
