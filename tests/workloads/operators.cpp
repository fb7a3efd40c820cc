// Every form of new and delete, with sizes that tell them apart, also through a container; failing ones unless there is
// an argument.
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>
struct alignas(128) Wide { char bytes[1920]; };
static void *volatile sink;
template <typename T> static T *seen(T *p) { sink = p; return p; }
int main(int argc, char **) {
    for (int i = 0; i < 100; i++) {
        ::operator delete(seen(::operator new(1801)));
        ::operator delete(seen(::operator new(1802)), std::size_t(1802));
        ::operator delete[](seen(::operator new[](1803)));
        ::operator delete[](seen(::operator new[](1804)), std::size_t(1804));
        ::operator delete(seen(::operator new(1805, std::nothrow)), std::nothrow);
        ::operator delete[](seen(::operator new[](1806, std::nothrow)), std::nothrow);
        std::align_val_t alignment{64};
        ::operator delete(seen(::operator new(1856, alignment)), alignment);
        ::operator delete(seen(::operator new(1920, alignment)), std::size_t(1920), alignment);
        ::operator delete[](seen(::operator new[](1984, alignment)), alignment);
        ::operator delete[](seen(::operator new[](2048, alignment)), std::size_t(2048), alignment);
        ::operator delete(seen(::operator new(2112, alignment, std::nothrow)), alignment, std::nothrow);
        ::operator delete[](seen(::operator new[](2176, alignment, std::nothrow)), alignment, std::nothrow);
        delete seen(new Wide);
        std::vector<char> held(1850);
        sink = held.data();
        free(seen(static_cast<char *>(malloc(1870))));
    }
    if (argc > 1) return puts("no failures"), 0; // of which some allocators make the end of the program
    volatile std::size_t huge = std::size_t(1) << 60;
    int thrown = 0;
    try { seen(::operator new(huge)); } catch (const std::bad_alloc &) { thrown++; }
    try { seen(::operator new[](huge)); } catch (const std::bad_alloc &) { thrown++; }
    try { seen(::operator new(huge, std::align_val_t{64})); } catch (const std::bad_alloc &) { thrown++; }
    bool null = ::operator new(huge, std::nothrow) == nullptr && ::operator new[](huge, std::nothrow) == nullptr;
    std::printf("%d thrown, %d\n", thrown, null);
}
