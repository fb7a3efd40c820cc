// Four threads that allocate and free until they are killed; each holds at most one block of 1,000 to 1,063 bytes.
#include <pthread.h>
#include <stdlib.h>
static void *storm(void *arg) {
    for (unsigned i = (unsigned)(size_t)arg;; i++) {
        free(malloc(1000 + i % 64));
        for (volatile int k = 0; k < 300; k++) {}
    }
    return arg;
}
int main(void) {
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) pthread_create(&threads[i], NULL, storm, (void *)i);
    pthread_join(threads[0], NULL);
    return 0;
}
