/* An allocator that does next to nothing, so that what stands in front of it is all there is to count.
 *
 * A free block goes on top of a stack and the next malloc takes it from there; a new one comes from a bump pointer.
 * Every block has BLOCK bytes, larger ones are never reused. One thread only. */
#include <stddef.h>
#include <string.h>

enum { BLOCK = 256, ARENA_BYTES = 64 << 20, STACK = 1 << 16 };

static char arena[ARENA_BYTES] __attribute__((aligned(16)));
static char *next = arena;
static void *recycled[STACK];
static void **top = recycled;

static void *bump(size_t size) {
    size = size <= BLOCK ? BLOCK : (size + 15) & ~(size_t)15;
    if ((size_t)(arena + ARENA_BYTES - next) < size + BLOCK) return NULL;
    char *p = next;
    next += size;
    return p;
}

void *malloc(size_t size) {
    if (size <= BLOCK && top != recycled) return *--top;
    return bump(size);
}

void free(void *p) {
    if (p && top != recycled + STACK) *top++ = p;
}

void *calloc(size_t n, size_t size) {
    void *p = malloc(n * size);
    return p ? memset(p, 0, n * size) : NULL;
}

void *realloc(void *old, size_t size) {
    void *p = malloc(size);
    /* Reads past a shorter old block stay inside the arena: `bump` keeps BLOCK bytes of room and arenas start zeroed. */
    if (p && old) memmove(p, old, size);
    return p;
}
