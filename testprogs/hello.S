/*
 * hello, in assembly: each node writes 40 bytes into a buffer of the next node, and prints what was written into its own.
 * No libc; the header gives the numbers. See docs/guests.md for the operands, and hello.c for the same in C.
 *
 *     rmemrun cc -nostdlib -static -o hello hello.S && rmemrun -n 2 ./hello
 *
 * A remote instruction is  ud1l RMEM_INSN(op, flags)(A, P, width), V  and aligned to 8. What an operation does not use
 * is rax; the count is in rcx, the extra operand in rdx, the result in rax.
 */
#include <rmem.h>

#define PRCTL_GUARD 0x524d454d

	.bss
	.balign 8
greeting:
	.skip	40
event:
	.skip	32		/* node 4, op 4, offset 8, len 8, count 8 */

	.data
	.balign 8
message:
	.ascii	"hello from node "
digits:
	.ascii	"   0\n"
	.set	line_length, . - message
	.skip	40 - line_length
name:
	.ascii	"greeting"
	.set	name_length, . - name
text_guard:
	.ascii	"hello: uses remote-memory instructions; run it as: rmemrun -n N hello\n"
	.set	guard_length, . - text_guard
text_failed:
	.ascii	"hello: a remote operation failed\n"
	.set	failed_length, . - text_failed

	.text
	.globl	_start
_start:
	/* Is rmemrun there? It answers this prctl with 1, a kernel with an error. */
	movl	$157, %eax
	movl	$PRCTL_GUARD, %edi
	xorl	%esi, %esi
	xorl	%edx, %edx
	xorl	%r10d, %r10d
	xorl	%r8d, %r8d
	syscall
	cmpq	$1, %rax
	jne	not_there

	/* r12 = this node, r13 = the next. */
	.p2align 3
	ud1l	RMEM_INSN(RMEM_OP_NODE, 0)(%rax,%rax,1), %eax
	movl	%eax, %r12d
	.p2align 3
	ud1l	RMEM_INSN(RMEM_OP_NODES, 0)(%rax,%rax,1), %eax
	movl	%eax, %ecx
	leal	1(%r12), %eax
	xorl	%edx, %edx
	divl	%ecx
	movl	%edx, %r13d

	/* r14 = export "greeting": V base, A length, P name, rcx its length, rdx rights. */
	leaq	greeting(%rip), %rbx
	movl	$40, %esi
	leaq	name(%rip), %rdi
	movl	$name_length, %ecx
	movl	$RMEM_WRITE, %edx
	.p2align 3
	ud1l	RMEM_INSN(RMEM_OP_EXPORT, 0)(%rsi,%rdi,1), %ebx
	testq	%rax, %rax
	js	failed
	movl	%eax, %r14d

	/* r15 = import the next node's: V timeout, A node, P name, rcx its length, rdx rights. */
	movl	$-1, %ebx
	movl	%r13d, %esi
	leaq	name(%rip), %rdi
	movl	$name_length, %ecx
	movl	$RMEM_WRITE, %edx
	.p2align 3
	ud1l	RMEM_INSN(RMEM_OP_IMPORT, 0)(%rsi,%rdi,1), %ebx
	testq	%rax, %rax
	js	failed
	movl	%eax, %r15d

	/* The number of this node, in up to 4 digits. */
	movl	%r12d, %eax
	movl	$3, %edi
	movl	$10, %ecx
	leaq	digits(%rip), %rbx
next_digit:
	xorl	%edx, %edx
	divl	%ecx
	addb	$'0', %dl
	movb	%dl, (%rbx,%rdi)
	decl	%edi
	testl	%eax, %eax
	jnz	next_digit

	/* Write, and wake the owner: V source, A offset, P descriptor, rcx length. */
	leaq	message(%rip), %rbx
	xorl	%esi, %esi
	movl	$40, %ecx
	.p2align 3
	ud1l	RMEM_INSN(RMEM_OP_WRITE, RMEM_NOTIFY)(%rsi,%r15,1), %ebx
	testq	%rax, %rax
	js	failed

	/* Sleep until somebody has written here: V event, A timeout, P segment. */
	leaq	event(%rip), %rbx
	movl	$-1, %esi
	.p2align 3
	ud1l	RMEM_INSN(RMEM_OP_WAIT, 0)(%rsi,%r14,1), %ebx
	testq	%rax, %rax
	js	failed

	leaq	greeting(%rip), %rsi
	movl	$line_length, %edx
	movl	$1, %edi
	call	write

	/* Do not leave before the own write has arrived: P descriptor; V and A unused. */
	.p2align 3
	ud1l	RMEM_INSN(RMEM_OP_FENCE, 0)(%rax,%r15,1), %eax
	testq	%rax, %rax
	js	failed
	xorl	%edi, %edi
	jmp	exit

not_there:
	leaq	text_guard(%rip), %rsi
	movl	$guard_length, %edx
	movl	$2, %edi
	call	write
	movl	$126, %edi
	jmp	exit

failed:
	leaq	text_failed(%rip), %rsi
	movl	$failed_length, %edx
	movl	$2, %edi
	call	write
	movl	$1, %edi

exit:
	movl	$231, %eax	/* exit_group(edi) */
	syscall

write:				/* write(edi, rsi, rdx) */
	movl	$1, %eax
	syscall
	ret

	.section .note.GNU-stack, "", @progbits
