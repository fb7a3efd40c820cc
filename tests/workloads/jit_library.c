// A library that allocates by a function of the program's.
#include <stddef.h>
void *allocate_for(size_t size);
void *allocate_in_frame(void) {
    volatile char room[512];
    room[0] = 1;
    void *p = allocate_for(222);
    room[1] = 1;
    return p;
}
