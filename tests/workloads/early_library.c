// One of many libraries that allocate in their constructors and destructors.
#include <stdlib.h>
static void *kept;
__attribute__((constructor)) static void load(void) { kept = malloc(611); }
__attribute__((destructor)) static void unload(void) { free(kept); free(malloc(614)); }
