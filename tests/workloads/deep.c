// Recursion 5,000 deep that keeps a block at every level and frees it on the way back.
#include <stdio.h>
#include <stdlib.h>
__attribute__((noinline)) static int descend(int n) {
    if (n == 0) return 0;
    void *p = malloc(100);
    int r = descend(n - 1) + 1;
    free(p);
    return r;
}
int main(void) {
    printf("%d\n", descend(5000));
    return 0;
}
