// C++ exceptions through many frames, also in threads and out of constructors; thread_local objects freed late.
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
struct Late {
    std::vector<int> v;
    Late() : v(100) {}
    ~Late() { v.resize(1000); }
};
static thread_local Late late;
__attribute__((noinline)) static int thrower(int n, std::vector<std::string> &made) {
    std::string local(40 + n, 'x');
    if (n == 0) throw std::runtime_error("thrown from the bottom of many frames, longer than a short string");
    made.push_back(local);
    return thrower(n - 1, made) + (int)local.size();
}
static void work(int *caught) {
    late.v[3] = 7;
    for (int i = 0; i < 200; i++) {
        std::vector<std::string> made;
        try {
            thrower(50, made);
        } catch (const std::exception &e) {
            *caught += (int)made.size();
        }
    }
}
int main() {
    int caught[4] = {};
    std::vector<std::thread> threads;
    for (int &c : caught) threads.emplace_back(work, &c);
    for (auto &t : threads) t.join();
    std::printf("%d\n", caught[0] + caught[1] + caught[2] + caught[3]);
}
