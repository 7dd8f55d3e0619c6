//go:build ignore

// The way into a stub and out of it. A trampoline comes here with sp lowered by FRAME, rax in the frame, and its site in rax.
//
// From pc, who stops the thread knows where the frame is and what it has:
//
//	enter                  at rsp: rax; the site is in rax
//	behind it, to saved    at rsp: rax and the site; the flags and all registers but rax are still the guest's
//	behind it, to restore  at r15: all; so in all C code
//	restore to end_exit    at rsp: all, and the outcome
#include "offsets.h"

	.section .text.enter, "ax"
	.globl enter, saved, restore, end_exit
enter:
	mov %rax, FRAME_SITE(%rsp)
	mov %rcx, FRAME_R + 8 * 1(%rsp)
	mov %rdx, FRAME_R + 8 * 2(%rsp)
	mov %rbx, FRAME_R + 8 * 3(%rsp)
	mov %rbp, FRAME_R + 8 * 5(%rsp)
	mov %rsi, FRAME_R + 8 * 6(%rsp)
	mov %rdi, FRAME_R + 8 * 7(%rsp)
	mov %r8, FRAME_R + 8 * 8(%rsp)
	mov %r9, FRAME_R + 8 * 9(%rsp)
	mov %r10, FRAME_R + 8 * 10(%rsp)
	mov %r11, FRAME_R + 8 * 11(%rsp)
	mov %r12, FRAME_R + 8 * 12(%rsp)
	mov %r13, FRAME_R + 8 * 13(%rsp)
	mov %r14, FRAME_R + 8 * 14(%rsp)
	mov %r15, FRAME_R + 8 * 15(%rsp)
	movl $BEFORE, FRAME_STATE(%rsp)
	movl $0, FRAME_LEAVE(%rsp)
	movq $0, FRAME_HELD(%rsp)
	mov SITE_FAST(%rax), %rax
	mov %rax, FRAME_FAST(%rsp)
	mov FRAME_SITE(%rsp), %rax
	mov SITE_SLOW(%rax), %rax
	mov %rax, FRAME_SLOW(%rsp)
	lea FRAME(%rsp), %rax
	mov %rax, FRAME_R + 8 * 4(%rsp)
	lahf
	seto %al
	mov %rax, FRAME_FLAGS(%rsp)
saved:
	mov %rsp, %r15
	mov %r15, %rdi
	mov FRAME_SITE(%r15), %rsi
	and $-16, %rsp
	// If the guest's stack ends before, or the processor checks alignment (AC), it faults while nothing has happened.
	movl $0, 1 - STACK(%rsp)
	call *SITE_STUB(%rsi)

exit:
	mov %eax, FRAME_OUTCOME(%r15)
	mov %r15, %rsp
restore:
	mov FRAME_FLAGS(%rsp), %rax
	cmpl $FAST, FRAME_OUTCOME(%rsp)
	mov FRAME_R + 8 * 1(%rsp), %rcx
	mov FRAME_R + 8 * 2(%rsp), %rdx
	mov FRAME_R + 8 * 3(%rsp), %rbx
	mov FRAME_R + 8 * 5(%rsp), %rbp
	mov FRAME_R + 8 * 6(%rsp), %rsi
	mov FRAME_R + 8 * 7(%rsp), %rdi
	mov FRAME_R + 8 * 8(%rsp), %r8
	mov FRAME_R + 8 * 9(%rsp), %r9
	mov FRAME_R + 8 * 10(%rsp), %r10
	mov FRAME_R + 8 * 11(%rsp), %r11
	mov FRAME_R + 8 * 12(%rsp), %r12
	mov FRAME_R + 8 * 13(%rsp), %r13
	mov FRAME_R + 8 * 14(%rsp), %r14
	mov FRAME_R + 8 * 15(%rsp), %r15
	jne 1f
	add $0x7f, %al // overflows if it was 1
	sahf
	mov FRAME_R + 8 * 0(%rsp), %rax
	jmp *FRAME_FAST(%rsp)
1:	add $0x7f, %al
	sahf
	mov FRAME_R + 8 * 0(%rsp), %rax
	jmp *FRAME_SLOW(%rsp)
end_exit:

	.text
	.globl left, help, fault
// Where the engine collects a thread that it wanted out.
left:
	ud2

// help asks the engine to have the ring `index` served. It lets the thread go on behind the trap.
help:
	ud2
	ret

// attempt_x is x, but returns RETREATED if it faults.
	.macro attempt name
	.globl attempt_\name
attempt_\name:
	push %rbp // the only register that the C code here preserves
	mov %rsp, FRAME_RETREAT(%r15)
	call \name
	pop %rbp
	ret
	.endm
	attempt serve
	attempt deliver

// Where the engine sends a thread that has faulted. What is BEFORE may have faulted because the stack has come to its end.
fault:
	mov $SLOW, %eax
	cmpl $BEFORE, FRAME_STATE(%r15)
	je exit
	cmpl $SERVING, FRAME_STATE(%r15)
	jne give_up
	mov FRAME_RETREAT(%r15), %rsp
	mov FRAME_HELD(%r15), %rcx
	test %rcx, %rcx
	jz 1f
	movl $0, (%rcx)
	movq $0, FRAME_HELD(%r15)
1:	mov FRAME_RESUME(%r15), %eax
	mov %eax, FRAME_STATE(%r15)
	mov $RETREATED, %eax
	pop %rbp
	ret

give_up:
	mov %r15, %rsp
	and $-16, %rsp
	mov %r15, %rdi
	mov FRAME_SITE(%r15), %rsi
	call recover
	jmp exit

	.section .note.GNU-stack, "", @progbits
