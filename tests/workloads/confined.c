// Takes away from itself what its argument names, then allocates in the main thread and in others.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
__attribute__((noinline)) static void inner(size_t n) { free(malloc(2000 + n)); __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) static void outer(size_t n) { inner(n); __asm__ volatile("" ::: "memory"); }
static void *run(void *arg) {
    for (int i = 0; i < 10000; i++) outer((size_t)arg + i % 100);
    return NULL;
}
static void limit(int what, rlim_t n) {
    struct rlimit limit = {n, n};
    if (setrlimit(what, &limit) != 0) perror("setrlimit");
}
int main(int argc, char **argv) {
    const char *what = argv[1];
    if (strcmp(what, "chroot") == 0 && (chroot(argv[2]) != 0 || chdir("/") != 0)) perror("chroot");
    if (strcmp(what, "descriptors") == 0) closefrom(3), limit(RLIMIT_NOFILE, 0);
    if (strcmp(what, "files") == 0) limit(RLIMIT_FSIZE, 0);
    if (strcmp(what, "stack") == 0) limit(RLIMIT_STACK, 256 << 10);
    if (strcmp(what, "locked") == 0) limit(RLIMIT_MEMLOCK, 0), limit(RLIMIT_SIGPENDING, 0);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) pthread_create(&threads[i], NULL, run, (void *)i);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    run((void *)4);
    puts("done");
    return 0;
}
