// A program with four instructions, two of them in a function of its own, and
// with what is not one. It is only linked, never run.
	.text
	.globl _start
_start:
	nop
	.p2align 3
	ud1l 0x5a0d0601(%rsi,%rdi,1), %ebx
	ud2
	ud1l 0x5b0d0601(%rsi,%rdi,1), %ebx
	jmp helper
	.size _start, . - _start

	.p2align 3
	.globl helper
	.type helper, @function
helper:
	ud1l 0x5a0d0800(%r9,%rdi,8), %r10d
	ret
	.p2align 3
	movb $0x41, %al		// b0 41: what follows, at an odd address, may seem to have a REX prefix
	.skip 6, 0x41
	ud1l 0x5a0d0b00(%rax,%rdi,1), %eax
	.size helper, . - helper

	ud1l 0x5a0d0e00(%rax,%rax,1), %eax	// in no function
