/* One or two threads that allocate under deep stacks and free each other's blocks.
 *
 *   exchange THREADS PAIRS
 *
 * Each thread allocates its share of PAIRS, 16 frames deep, the last four of them along a path that changes from block to
 * block (81 paths), and hands the blocks over in batches; it frees the batches that it is handed. One thread hands them to
 * itself. Waiting is done on a condition variable, so that processor time is time of work. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BATCH = 512,
    BATCHES_UNDER_WAY = 8,
    /* Frames of `descend` and `run`, so that a stack has 16 with four of the path, `fill`, `produce` and two below. */
    FRAMES_BETWEEN = 8,
};

#define KEEP(n) __asm__ volatile("# " #n ::: "memory")

struct mailbox {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char **batches[BATCHES_UNDER_WAY];
    int count;
};

struct worker {
    pthread_t thread;
    struct mailbox *in, *out;
    long batches;
    unsigned long random, sum;
};

static struct mailbox boxes[2];

static unsigned long next_random(unsigned long *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Three frames of three call sites each, then malloc. */
__attribute__((noinline)) static char *path(int frames, unsigned long choice, size_t size) {
    char *p;
    if (frames == 0) {
        p = malloc(size);
        KEEP(leaf);
        return p;
    }
    switch (choice % 3) {
    case 0: p = path(frames - 1, choice / 3, size); KEEP(a); return p;
    case 1: p = path(frames - 1, choice / 3, size); KEEP(b); return p;
    default: p = path(frames - 1, choice / 3, size); KEEP(c); return p;
    }
}

__attribute__((noinline)) static void fill(struct worker *w, char **batch) {
    for (int i = 0; i < BATCH; i++) {
        unsigned long r = next_random(&w->random);
        switch (r >> 60 & 3) {
        case 0: batch[i] = path(3, r & 0xffff, 16 + (r >> 20) % 240); KEEP(a); break;
        case 1: batch[i] = path(3, r & 0xffff, 16 + (r >> 20) % 240); KEEP(b); break;
        default: batch[i] = path(3, r & 0xffff, 16 + (r >> 20) % 240); KEEP(c); break;
        }
        *batch[i] = (char)(r >> 8);
    }
}

static void post(struct mailbox *box, char **batch) {
    pthread_mutex_lock(&box->lock);
    while (box->count == BATCHES_UNDER_WAY) pthread_cond_wait(&box->changed, &box->lock);
    box->batches[box->count++] = batch;
    pthread_cond_broadcast(&box->changed);
    pthread_mutex_unlock(&box->lock);
}

static char **take(struct mailbox *box) {
    pthread_mutex_lock(&box->lock);
    while (box->count == 0) pthread_cond_wait(&box->changed, &box->lock);
    char **batch = box->batches[--box->count];
    pthread_cond_broadcast(&box->changed);
    pthread_mutex_unlock(&box->lock);
    return batch;
}

static void empty(struct worker *w, char **batch) {
    for (int i = 0; i < BATCH; i++) {
        w->sum += (unsigned char)*batch[i];
        free(batch[i]);
    }
}

__attribute__((noinline)) static void produce(struct worker *w) {
    /* Arrays are swapped with the other thread's, blocks and all. */
    char **batch = malloc(BATCH * sizeof *batch);
    for (long i = 0; i < w->batches; i++) {
        fill(w, batch);
        post(w->out, batch);
        batch = take(w->in);
        empty(w, batch);
    }
    free(batch);
    KEEP(end);
}

__attribute__((noinline)) static void descend(struct worker *w, int frames) {
    if (frames > 0)
        descend(w, frames - 1);
    else
        produce(w);
    KEEP(end);
}

static void *run(void *argument) {
    descend(argument, FRAMES_BETWEEN - 2);
    KEEP(end);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int threads = atoi(argv[1]);
    if (threads != 1 && threads != 2) return 2;
    struct worker workers[2];
    unsigned long sum = 0;
    for (int i = 0; i < threads; i++) {
        pthread_mutex_init(&boxes[i].lock, NULL);
        pthread_cond_init(&boxes[i].changed, NULL);
        workers[i] = (struct worker){.in = &boxes[i], .out = &boxes[threads - 1 - i],
                                     .batches = atol(argv[2]) / threads / BATCH, .random = 88172645463325252UL + i};
    }
    for (int i = 0; i < threads; i++) pthread_create(&workers[i].thread, NULL, run, &workers[i]);
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        sum += workers[i].sum;
    }
    printf("%lu\n", sum);
    return 0;
}
