// Many threads load and unload the same libraries, throw, and allocate: whatever holds the loader's lock while it waits
// for something of the recorder's, or the other way round, stops here.
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
__attribute__((noinline)) static void throw_below(int n) {
    std::string local(50 + n, 'x');
    if (n == 0) throw std::runtime_error(local);
    throw_below(n - 1);
    asm volatile("" ::: "memory");
}
static void work(int seed, int rounds, int libraries, char **paths, const char **symbols, int *good) {
    for (int i = 0; i < rounds; i++) {
        int which = (seed + i * 7) % libraries;
        void *library = dlopen(paths[which], RTLD_NOW);
        if (!library) continue;
        auto allocate = reinterpret_cast<void *(*)()>(dlsym(library, symbols[which % 2]));
        free(allocate());
        try {
            throw_below(i % 10);
        } catch (const std::exception &) {
            ++*good;
        }
        dlclose(library);
    }
}
int main(int argc, char **argv) {
    const char *symbols[] = {"allocate_in_library", "allocate_elsewhere_"};
    int count = atoi(argv[1]), rounds = atoi(argv[2]), total = 0;
    std::vector<int> good(count);
    std::vector<std::thread> threads;
    for (int i = 0; i < count; i++) threads.emplace_back(work, i, rounds, argc - 3, argv + 3, symbols, &good[i]);
    for (auto &thread : threads) thread.join();
    for (int n : good) total += n;
    std::printf("%d\n", total);
}
