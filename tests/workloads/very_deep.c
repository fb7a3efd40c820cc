// Recursion far beyond what is kept of a stack, with different leaves at its end and blocks on the way.
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <pthread.h>
static int depth;
__attribute__((noinline)) static void leaf_one(void) { free(malloc(61)); __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) static void leaf_two(void) { free(malloc(62)); __asm__ volatile("" ::: "memory"); }
__attribute__((noinline)) static int descend(int n) {
    void *p = n % 10 ? NULL : malloc(63);
    if (n == 0)
        for (int i = 0; i < 1000; i++) i % 2 ? leaf_one() : leaf_two();
    int r = n ? descend(n - 1) + 1 : 0;
    free(p);
    return r;
}
static void *run(void *arg) {
    printf("%d\n", descend(depth));
    return arg;
}
int main(int argc, char **argv) {
    depth = atoi(argv[1]);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, (size_t)64 << 20);
    pthread_t thread;
    pthread_create(&thread, &attributes, run, NULL);
    pthread_join(thread, NULL);
    return 0;
}
