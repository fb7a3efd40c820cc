// A program that nobody wrote in C: no C library, no interpreter, two system calls. `-DGO`: the Go linker's mark on it.
static const char text[] = "no libc\n";
__asm__(".text\n.globl _start\n_start: mov $1, %eax\nmov $1, %edi\nlea text(%rip), %rsi\nmov $8, %edx\nsyscall\n"
        "mov $60, %eax\nmov $5, %edi\nsyscall\n");
__attribute__((used)) static const void *keep = text;
#ifdef GO
__attribute__((section(".note.go.buildid"), used)) static const char mark[] = "\4\0\0\0\4\0\0\0\4\0\0\0Go\0\0abcd";
#endif
