/* One thread allocates and frees at once, from one place right below main: PAIRS times. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static unsigned long work(long pairs) {
    unsigned long sum = 0;
    for (long i = 0; i < pairs; i++) {
        char *p = malloc(16 + i % 113);
        *(volatile char *)p = (char)i;
        sum += (unsigned char)*(volatile char *)p;
        free(p);
    }
    return sum;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    printf("%lu\n", work(atol(argv[1])));
    return 0;
}
