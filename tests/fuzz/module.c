// A module with something of everything that the symbolizer reads: inlined calls, several functions, lines.
static inline __attribute__((always_inline)) int inner(int *p, int n) {
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += p[i] * n;
    return sum;
}

static inline __attribute__((always_inline)) int middle(int *p, int n) {
    return inner(p, n) + inner(p + 1, n - 1);
}

int outer(int *p, int n) {
    return middle(p, n) - 1;
}

__attribute__((noinline)) int other(int n) {
    int p[4] = {n, n + 1, n + 2, n + 3};
    return outer(p, 4);
}

__asm__(".globl _ZN3one3twoEv\n.type _ZN3one3twoEv,@function\n_ZN3one3twoEv: ret\n.size _ZN3one3twoEv, 1\n");
