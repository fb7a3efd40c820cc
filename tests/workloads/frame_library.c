// A library whose code differs from its other builds in the size of a frame only.
#include <stdlib.h>
#ifndef FRAME
#define FRAME 512
#define SIZE 222
#endif
void *allocate_in_frame(void) {
    volatile char room[FRAME];
    room[0] = 1;
    void *p = malloc(SIZE);
    room[1] = 1;
    return p;
}
