// Memory that threads free at the very end: objects of thread_local storage, keys whose destructors set themselves again,
// and detached threads that still allocate when the program exits.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <pthread.h>
#include <thread>
#include <vector>
static pthread_key_t keys[3];
static std::atomic<int> destroyed{0};
static thread_local int again;
static void destroy(void *p) {
    free(p);
    if (destroyed++ % 3 == 0 && again++ == 0) pthread_setspecific(keys[0], malloc(335));
    else free(malloc(336));
}
struct Late {
    std::vector<char> held = std::vector<char>(333);
    ~Late() { held.resize(900); free(malloc(334)); }
};
static thread_local Late late;
static void *work(void *arg) {
    late.held[1] = 1;
    for (auto key : keys) pthread_setspecific(key, malloc(337));
    return arg;
}
static void *endless(void *arg) {
    for (;;) free(malloc(338));
    return arg;
}
int main(int argc, char **argv) {
    int n = atoi(argv[1]);
    for (auto &key : keys) pthread_key_create(&key, destroy);
    for (int i = 0; i < n; i += 4) {
        pthread_t threads[4];
        for (auto &thread : threads) pthread_create(&thread, nullptr, work, nullptr);
        for (auto &thread : threads) pthread_join(thread, nullptr);
    }
    for (int i = 0; i < 4; i++) {
        pthread_t thread;
        pthread_create(&thread, nullptr, endless, nullptr);
        pthread_detach(thread);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::printf("%d threads\n", n);
    return 0;
}
