/*
 * pingpong, in assembly: two nodes write 40 bytes to each other, 1000 times, and each polls its own memory for the
 * other's. No libc. See docs/guests.md for the operands, and pingpong.c for the same in C and why it is right.
 *
 *     rmemrun cc -nostdlib -static -o pingpong pingpong.S && rmemrun -n 2 ./pingpong
 */
#include <rmem.h>

#define PRCTL_GUARD 0x524d454d
#define ROUNDS 1000
#define WORDS 5

	.bss
	.balign 8
box:
	.skip	WORDS * 8
message:
	.skip	WORDS * 8

	.data
name:
	.ascii	"box"
	.set	name_length, . - name
text_right:
	.ascii	"1000 round trips of 40 bytes, every word right\n"
	.set	right_length, . - text_right
text_nodes:
	.ascii	"pingpong: needs two nodes: rmemrun -n 2 pingpong\n"
	.set	nodes_length, . - text_nodes
text_guard:
	.ascii	"pingpong: uses remote-memory instructions; run it as: rmemrun -n 2 pingpong\n"
	.set	guard_length, . - text_guard
text_failed:
	.ascii	"pingpong: a remote operation failed\n"
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
	leaq	text_guard(%rip), %rsi
	movl	$guard_length, %edx
	movl	$126, %ebx
	cmpq	$1, %rax
	jne	complain

	/* At least two nodes; two play. r12 = this node. */
	.p2align 3
	ud1l	RMEM_INSN(RMEM_OP_NODES, 0)(%rax,%rax,1), %eax
	leaq	text_nodes(%rip), %rsi
	movl	$nodes_length, %edx
	movl	$2, %ebx
	cmpl	$2, %eax
	jl	complain
	.p2align 3
	ud1l	RMEM_INSN(RMEM_OP_NODE, 0)(%rax,%rax,1), %eax
	movl	%eax, %r12d
	xorl	%edi, %edi
	cmpl	$1, %eax
	ja	exit

	/* Export "box": V base, A length, P name, rcx its length, rdx rights. */
	leaq	box(%rip), %rbx
	movl	$WORDS * 8, %esi
	leaq	name(%rip), %rdi
	movl	$name_length, %ecx
	movl	$RMEM_WRITE, %edx
	.p2align 3
	ud1l	RMEM_INSN(RMEM_OP_EXPORT, 0)(%rsi,%rdi,1), %ebx
	testq	%rax, %rax
	js	failed

	/* r13 = import the other's: V timeout, A node, P name, rcx its length, rdx rights. */
	movl	$-1, %ebx
	movl	$1, %esi
	subl	%r12d, %esi
	.p2align 3
	ud1l	RMEM_INSN(RMEM_OP_IMPORT, 0)(%rsi,%rdi,1), %ebx
	testq	%rax, %rax
	js	failed
	movl	%eax, %r13d

	movl	$1, %ebp		/* the round */
	testl	%r12d, %r12d
	jnz	receive			/* node 0 begins */
send:
	xorl	%ecx, %ecx
	leaq	message(%rip), %rbx
1:	movq	%rbp, (%rbx,%rcx,8)
	incl	%ecx
	cmpl	$WORDS, %ecx
	jne	1b
	/* Write: V source, A offset, P descriptor, rcx length. */
	xorl	%esi, %esi
	movl	$WORDS * 8, %ecx
	.p2align 3
	ud1l	RMEM_INSN(RMEM_OP_WRITE, 0)(%rsi,%r13,1), %ebx
	testq	%rax, %rax
	js	failed
	testl	%r12d, %r12d
	jnz	next			/* node 1 ends a round with its write */
receive:
	xorl	%r14d, %r14d		/* the word */
2:	leaq	box(%rip), %rbx
	cmpq	%rbp, (%rbx,%r14,8)
	je	3f
	movl	$24, %eax		/* sched_yield: there may be more nodes than processors */
	syscall
	jmp	2b
3:	incl	%r14d
	cmpl	$WORDS, %r14d
	jne	2b
	testl	%r12d, %r12d
	jnz	send
next:
	incl	%ebp
	cmpl	$ROUNDS, %ebp
	ja	done
	testl	%r12d, %r12d
	jz	send
	jmp	receive

done:
	/* Do not leave before the last write has arrived. */
	.p2align 3
	ud1l	RMEM_INSN(RMEM_OP_FENCE, 0)(%rax,%r13,1), %eax
	testq	%rax, %rax
	js	failed
	xorl	%edi, %edi
	testl	%r12d, %r12d
	jnz	exit
	leaq	text_right(%rip), %rsi
	movl	$right_length, %edx
	movl	$1, %eax
	movl	$1, %edi
	syscall
	xorl	%edi, %edi
	jmp	exit

failed:
	leaq	text_failed(%rip), %rsi
	movl	$failed_length, %edx
	movl	$1, %ebx
complain:				/* text rsi, length rdx, status ebx */
	movl	$1, %eax
	movl	$2, %edi
	syscall
	movl	%ebx, %edi
exit:
	movl	$231, %eax		/* exit_group(edi) */
	syscall

	.section .note.GNU-stack, "", @progbits
