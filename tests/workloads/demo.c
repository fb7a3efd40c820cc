// The demo program: a word count that keeps its words, a cache that only grows, and buffers that come and go.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct word { struct word *next; int count; char text[]; };
static struct word *table[1024];
static char *cache[20000];
static int cached;
static struct word *intern(const char *text) {
    unsigned hash = 5381;
    for (const char *c = text; *c; c++) hash = hash * 33 + (unsigned char)*c;
    struct word **slot = &table[hash % 1024];
    for (struct word *w = *slot; w; w = w->next)
        if (strcmp(w->text, text) == 0) return w;
    struct word *w = malloc(sizeof *w + strlen(text) + 1);
    w->next = *slot, w->count = 0, strcpy(w->text, text);
    return *slot = w;
}
static void remember(const char *text) {
    char *copy = malloc(256);
    strcpy(copy, text);
    if (cached < 20000) cache[cached++] = copy; else free(copy);
}
static void line(int n) {
    char *buffer = malloc(4096);
    snprintf(buffer, 4096, "word%d", n * 7919 % 5000);
    intern(buffer)->count++;
    if (n % 10 == 0) remember(buffer);
    free(buffer);
}
int main(void) {
    for (int n = 0; n < 200000; n++) line(n);
    printf("%d cached\n", cached);
    return 0;
}
