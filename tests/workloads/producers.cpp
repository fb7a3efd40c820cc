// Threads that make strings and threads that free them, and a map that stays: known totals, known names.
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
static std::mutex lock;
static std::vector<std::string *> queue;
static std::map<int, std::string> kept;
__attribute__((noinline)) static void produce(int n) {
    for (int i = 0; i < n; i++) {
        auto *s = new std::string(40 + i % 100, 'x');
        std::lock_guard<std::mutex> guard(lock);
        queue.push_back(s);
    }
}
__attribute__((noinline)) static void consume(int n) {
    for (int got = 0; got < n;) {
        std::string *s = nullptr;
        {
            std::lock_guard<std::mutex> guard(lock);
            if (!queue.empty()) s = queue.back(), queue.pop_back();
        }
        if (s) delete s, got++;
    }
}
__attribute__((noinline)) static void keep() {
    for (int i = 0; i < 5000; i++) kept[i] = std::string(1000 + i % 64, 'y');
}
int main() {
    queue.reserve(1000000);
    keep();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) threads.emplace_back(produce, 50000), threads.emplace_back(consume, 50000);
    for (auto &t : threads) t.join();
    std::printf("%zu\n", kept.size());
}
