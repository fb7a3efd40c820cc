// Runs into an address-space limit: allocations fail as they would without a profiler.
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
int main(void) {
    struct rlimit limit = {(rlim_t)1 << 31, (rlim_t)1 << 31};
    setrlimit(RLIMIT_AS, &limit);
    int failed = 0;
    void *blocks[64] = {0};
    for (int i = 0; i < 64; i++) {
        blocks[i] = malloc((size_t)128 << 20);
        failed += blocks[i] == NULL;
    }
    for (int i = 0; i < 64; i++) free(blocks[i]);
    for (int i = 0; i < 100000; i++) free(malloc(i % 5000));
    printf("some failed: %d\n", failed > 40);
    return 0;
}
