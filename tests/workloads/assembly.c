// Frames that no compiler writes: without call frame information, with and without a frame pointer, and with expressions
// in it; a first call of a lazily bound function; a callback through the resolver of names.
#define _GNU_SOURCE
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
void leaf(void) {
    free(malloc(71));
    __asm__ volatile("" ::: "memory");
}
void with_pointer(void);
void without_pointer(void);
void by_expression(void);
void by_register_expression(void);
__asm__(".text\n"
        ".type with_pointer,@function\nwith_pointer: push %rbp\nmov %rsp, %rbp\nsub $32, %rsp\ncall leaf\nleave\nret\n"
        ".size with_pointer, .-with_pointer\n"
        // Keeps a count in rbp, which must not be taken for a frame pointer.
        ".type without_pointer,@function\nwithout_pointer: push %rbp\nmov $3, %ebp\nsub $16, %rsp\n"
        "1: call leaf\ndec %ebp\njnz 1b\nadd $16, %rsp\npop %rbp\nret\n"
        ".size without_pointer, .-without_pointer\n"
        // cfa = *(rsp + 24), the old stack pointer kept in a slot.
        ".type by_expression,@function\nby_expression:\n.cfi_startproc\n"
        "lea 8(%rsp), %rax\nsub $40, %rsp\nmov %rax, 24(%rsp)\n"
        ".cfi_escape 0x0f, 3, 0x77, 24, 0x06\n"
        "call leaf\nadd $40, %rsp\n.cfi_def_cfa %rsp, 8\nret\n.cfi_endproc\n"
        ".size by_expression, .-by_expression\n"
        // cfa = rbx, which only its callee's frame could tell.
        ".type by_register_expression,@function\nby_register_expression:\n.cfi_startproc\n"
        "push %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset %rbx, 0\nlea 16(%rsp), %rbx\n"
        ".cfi_def_cfa %rbx, 0\nsub $64, %rsp\nand $-64, %rsp\ncall leaf\nlea -16(%rbx), %rsp\n"
        ".cfi_def_cfa %rsp, 16\npop %rbx\n.cfi_adjust_cfa_offset -8\nret\n.cfi_endproc\n"
        ".size by_register_expression, .-by_register_expression\n");
__attribute__((noinline)) static void call_with_pointer(void) { with_pointer(); __asm__ volatile(""); }
__attribute__((noinline)) static void call_without_pointer(void) { without_pointer(); __asm__ volatile(""); }
__attribute__((noinline)) static void call_by_expression(void) { by_expression(); __asm__ volatile(""); }
__attribute__((noinline)) static void call_by_register(void) { by_register_expression(); __asm__ volatile(""); }
int main(void) {
    for (int i = 0; i < 10; i++) {
        call_with_pointer();
        call_without_pointer();
        call_by_expression();
        call_by_register();
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC}, *found = NULL;
    printf("localhost %d\n", getaddrinfo("localhost", NULL, &hints, &found));
    freeaddrinfo(found);
    return 0;
}
