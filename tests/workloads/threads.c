// Many short threads, with the smallest stacks, detached and joined, with keys whose destructors free.
#define _GNU_SOURCE
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static pthread_key_t key;
static void destroy(void *p) { free(p); free(malloc(33)); }
static void *run(void *arg) {
    pthread_setspecific(key, malloc(44));
    void *p = malloc(2000 + (size_t)arg % 1000);
    free(p);
    return malloc(55);
}
int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 2000;
    size_t stack = argc > 2 ? strtoul(argv[2], NULL, 10) : 65536;
    pthread_key_create(&key, destroy);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack < (size_t)PTHREAD_STACK_MIN ? (size_t)PTHREAD_STACK_MIN : stack);
    for (int i = 0; i < n; i += 4) {
        pthread_t threads[4];
        for (int k = 0; k < 4; k++) pthread_create(&threads[k], &attributes, run, (void *)(size_t)(i + k));
        for (int k = 0; k < 4; k++) {
            void *result;
            pthread_join(threads[k], &result);
            free(result);
        }
    }
    printf("%d threads\n", n);
    return 0;
}
