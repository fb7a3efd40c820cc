// Denies itself futexes, memfds and a look at the clock: nobody can wait for anybody except by trying again.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#define DENY(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
static atomic_int begun, ended;
static void *run(void *arg) {
    begun++;
    while (begun < 5) sched_yield();
    for (int i = 0; i < 100000; i++) free(malloc(100 + (size_t)arg + i % 100));
    ended++;
    for (;;) pause();
    return NULL;
}
int main(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        DENY(memfd_create), DENY(futex), DENY(clock_gettime), DENY(kill), DENY(tgkill),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) pthread_create(&threads[i], NULL, run, (void *)i);
    while (begun < 4) sched_yield();
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0) return 1;
    begun++;
    while (ended < 4) sched_yield();
    write(1, "done\n", 5);
    _exit(0);
}
