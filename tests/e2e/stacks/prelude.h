/* What every random program begins with (see programs.rs); compiled as C and as C++. */
#define _GNU_SOURCE
#include <alloca.h>
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define KEEP __asm__ volatile("" ::: "memory")
#define COUNT 40
#define COROUTINES 4
#ifdef __cplusplus
#define ALIGNED(n) alignas(n)
#else
#define ALIGNED(n) _Alignas(n)
#endif

typedef int function(int, int);
static function *table[COUNT];
static function *forward;

static unsigned long state = 88172645463325252ul;
static long budget;
static jmp_buf out;
static volatile int sink;
static int catching; /* try blocks on this stack: something thrown will be caught */
static int handling; /* signal handlers under way, whose stack cannot be left and entered again */

static unsigned next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 11);
}

static void touch(int n) {
    free(malloc(n & 1023));
    KEEP;
}

#define CALL(d, n) (budget-- > 0 && (d) > 0 ? table[next() % COUNT]((d) - 1, (n)) : (touch(n), (n)))

/* A signal handler and a callback of libc: what they throw would have to pass frames that cannot be passed. */
static void handler(int s) {
    int saved = catching;
    catching = 0;
    handling++;
    touch(s);
    forward(2, s);
    handling--;
    catching = saved;
    KEEP;
}

static int compare(const void *a, const void *b) {
    touch(*(const char *)a);
    return *(const char *)a - *(const char *)b;
}

/* Coroutines: entered from anywhere on the main stack, left in the middle, entered again from somewhere else. */
static ucontext_t back, contexts[COROUTINES];
static int suspended[COROUTINES];
static int current = -1;
static char stacks[COROUTINES][256 << 10];

static void leave(void) {
    if (current >= 0 && !handling) {
        int saved = catching;
        swapcontext(&contexts[current], &back);
        catching = saved;
    }
}

static void coroutine(void) {
    for (;;) {
        catching = 0;
        sink += CALL(12, 5);
        suspended[current] = 0;
        touch(3);
        leave();
    }
}

static int enter(int n) {
    if (current >= 0 || handling)
        return n;
    int saved = catching, which = next() % COROUTINES;
    if (!suspended[which]) {
        getcontext(&contexts[which]);
        contexts[which].uc_stack.ss_sp = stacks[which];
        contexts[which].uc_stack.ss_size = sizeof stacks[which];
        contexts[which].uc_link = NULL;
        makecontext(&contexts[which], coroutine, 0);
    }
    suspended[which] = 1;
    current = which;
    swapcontext(&back, &contexts[which]);
    current = -1;
    catching = saved;
    return n + which;
}

/* Two libraries with other code at the same places, unloaded and loaded again while nothing of them is on a stack. */
typedef int visitor(int, int, function *);
static const char *paths[2];
static void *library;
static visitor *visit;
static int visitors;

static int again(int d, int n) { return CALL(d, n); }

static int visit_library(int d, int n) {
    if (!paths[0] || current >= 0)
        return CALL(d, n);
    if (visitors == 0 && (!library || next() % 16 == 0)) {
        if (library)
            dlclose(library);
        library = dlopen(paths[next() & 1], RTLD_NOW);
        visit = library ? (visitor *)dlsym(library, "visit") : NULL;
    }
    if (!visit)
        abort();
    visitors++;
    int saved = catching;
    catching = 0;
    int r = visit(d, n, again);
    catching = saved;
    visitors--;
    return r;
}

static void walk(int walks) {
    static char alternate[64 << 10];
    stack_t stack = {};
    stack.ss_sp = alternate;
    stack.ss_size = sizeof alternate;
    sigaltstack(&stack, NULL);
    struct sigaction action = {};
    action.sa_handler = handler;
    sigaction(SIGUSR1, &action, NULL);
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGUSR2, &action, NULL);
    for (volatile int i = 0; i < walks; i++) {
        budget = 400;
        if (setjmp(out) == 0)
            sink += CALL(40, i);
        /* After a longjmp: its coroutine is gone, its handlers have ended. */
        if (current >= 0)
            suspended[current] = 0;
        current = -1;
        catching = handling = visitors = 0;
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
    }
}
