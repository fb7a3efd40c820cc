/* Runs a program and reports what it alone used, whatever stands around it.
 *
 *   meter REPORT OUTPUT PROGRAM [ARGUMENT]...
 *
 * OUTPUT receives the program's standard output, REPORT one line: wall nanoseconds, user and system microseconds, peak
 * resident KiB (of the program or its largest child), exit status as a shell shows it.
 *
 * Linked statically: a library that is preloaded for the program is not loaded here, so this process costs every
 * profiler the same fraction of a millisecond and none of them records it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CANNOT_RUN = 127, USAGE = 2 };

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static long long micros(struct timeval t) { return t.tv_sec * 1000000LL + t.tv_usec; }

int main(int argc, char **argv) {
    if (argc < 4) return USAGE;
    long long start = now_ns();
    pid_t child = fork();
    if (child < 0) return CANNOT_RUN;
    if (child == 0) {
        int out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (out < 0 || dup2(out, STDOUT_FILENO) < 0) _exit(CANNOT_RUN);
        close(out);
        execvp(argv[3], argv + 3);
        _exit(CANNOT_RUN);
    }
    int status;
    struct rusage used;
    if (wait4(child, &status, 0, &used) != child) return CANNOT_RUN;
    long long wall = now_ns() - start;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    char line[160];
    int length = snprintf(line, sizeof line, "%lld %lld %lld %ld %d\n", wall, micros(used.ru_utime),
                          micros(used.ru_stime), used.ru_maxrss, code);
    int report = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (report < 0 || write(report, line, length) != length) return CANNOT_RUN;
    return code;
}
