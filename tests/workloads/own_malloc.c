// An executable with a malloc of its own that the loader can see: it comes before everything preloaded.
#include <stdio.h>
#include <string.h>
static char pool[1 << 20];
static size_t used;
void *malloc(size_t size) {
    size_t at = used;
    used += (size + 31) & ~(size_t)15;
    *(size_t *)(pool + at) = size;
    return pool + at + 16;
}
void free(void *p) { (void)p; }
void *calloc(size_t count, size_t size) { return memset(malloc(count * size), 0, count * size); }
void *realloc(void *p, size_t size) {
    void *q = malloc(size);
    if (p) memcpy(q, p, *(size_t *)((char *)p - 16) < size ? *(size_t *)((char *)p - 16) : size);
    return q;
}
int main(void) {
    for (int i = 0; i < 1000; i++) free(malloc(i));
    printf("%d\n", used > 1000);
    return 0;
}
