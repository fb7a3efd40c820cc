// Interrupts the recorder at every one of its instructions: a parent steps its child through calls of malloc and free and
// has a signal handler, which allocates, run at a chosen instruction of the preloaded library. Instructions of the
// allocator itself are left alone, because no program may allocate in a handler that interrupted it. Without the library
// nothing is interrupted. Writes how often the handler ran to the file it is given.
//
// `once N`: one interruption per call, at its N-th, 2N-th, ... instruction in turn. `all`: at every instruction of one
// call. `first N`: at every N-th instruction of the first call, in which the recorder sets itself up.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile long *handled;
static volatile int use_deep, is_first;
static void handler(int number) {
    (void)number;
    (*handled)++;
    free(malloc(777));
    __asm__ volatile("int3"); // says that the handler is done
}
__attribute__((noinline)) static void deep(int n) {
    volatile char space[16384];
    space[n] = 1;
    free(malloc(778));
    space[n + 1] = 2;
}
__attribute__((noinline)) static void pair(int n) {
    if (n % 3 == 1) {
        free(realloc(malloc(779), 3000));
        return;
    }
    free(malloc(779));
}
static void child(void) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NODEFER};
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0;; i++) {
        // The stack pointer of the last call was far below this one's.
        if (!is_first && i % 2) deep(i % 100);
        raise(SIGSTOP);
        pair(i);
    }
}
static unsigned long low, high;
static int in_recorder(pid_t pid) {
    struct user_regs_struct registers;
    ptrace(PTRACE_GETREGS, pid, NULL, &registers);
    return registers.rip >= low && registers.rip < high;
}
static int step(pid_t pid, int request, int signal) {
    int status;
    ptrace(request, pid, NULL, signal);
    waitpid(pid, &status, 0);
    return WIFSTOPPED(status) ? WSTOPSIG(status) : -1;
}
// Lets the handler run at this instruction, and goes on to where it came from.
static int interrupt_here(pid_t pid) {
    struct user_regs_struct registers;
    ptrace(PTRACE_GETREGS, pid, NULL, &registers);
    unsigned long at = registers.rip;
    if (step(pid, PTRACE_CONT, SIGUSR1) != SIGTRAP) return -1;
    do {
        if (step(pid, PTRACE_SINGLESTEP, 0) != SIGTRAP) return -1;
        ptrace(PTRACE_GETREGS, pid, NULL, &registers);
    } while (registers.rip != at);
    return 0;
}
// Steps to the next stop of the child, interrupting where `due` says; how many instructions of the recorder there were.
static long step_through(pid_t pid, long from, long every) {
    long n = 0;
    for (;;) {
        int signal = step(pid, PTRACE_SINGLESTEP, 0);
        if (signal == SIGSTOP) return n;
        if (signal != SIGTRAP) return -1;
        if (!in_recorder(pid)) continue;
        n++;
        if (n >= from && (n - from) % every == 0 && interrupt_here(pid) != 0) return -1;
    }
}
static void find_recorder(pid_t pid) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        if (!strstr(line, "r-xp") || !strstr(line, "tmq_preload") || sscanf(line, "%lx-%lx", &start, &end) != 2) continue;
        low = start, high = end;
    }
    fclose(maps);
}
int main(int argc, char **argv) {
    const char *mode = argv[1];
    long every = atol(argv[2]), never = 1L << 60, bad = 0;
    is_first = strcmp(mode, "first") == 0;
    handled = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = fork();
    if (pid == 0) child();
    int status;
    waitpid(pid, &status, 0);
    find_recorder(pid);
    if (is_first) {
        bad += step_through(pid, 1, every) < 0;
    } else {
        for (int i = 0; i < 6; i++) bad += step(pid, PTRACE_CONT, 0) != SIGSTOP;
        if (strcmp(mode, "all") == 0)
            for (int i = 0; i < 6; i++) bad += step_through(pid, 1, 1) < 0;
        else
            for (long from = 1, n = 0; n >= 0 && from <= 6000; from += every)
                for (int i = 0; i < 6; i++) {
                    n = step_through(pid, from, never);
                    bad += n < 0;
                    if (n < from && i == 5) from = never - every; // beyond the longest call
                }
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    FILE *file = fopen(argv[3], "w");
    fprintf(file, "%ld\n", *handled);
    fclose(file);
    printf("bad %ld\n", bad);
    return 0;
}
