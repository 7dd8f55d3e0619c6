/*
 * A processor with the remote-memory instructions in one signal handler. It prints each instruction that traps with the
 * general registers, and answers as it is told; the program checks that the answer reaches the caller. header_test.go
 * decodes the lines. A seccomp filter plays the part of rmemrun for the guard.
 */
#define _GNU_SOURCE
#include "rmem.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static int64_t answer;  /* the result that the next instruction gets */
static uint64_t before; /* the old value that the next atomic gets */
static int asked;       /* how often the guard asked */

#if defined(__x86_64__)
#define PC(u) ((u)->uc_mcontext.gregs[REG_RIP])
#define SYSCALL_RESULT(u) ((u)->uc_mcontext.gregs[REG_RAX])
static const int greg[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
			     REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
static uint64_t get(ucontext_t *u, int n) { return (uint64_t)u->uc_mcontext.gregs[greg[n]]; }
static void set(ucontext_t *u, int n, uint64_t v) { u->uc_mcontext.gregs[greg[n]] = (long long)v; }
static int length(const unsigned char *pc) { return pc[0] == 0x0f ? 8 : 9; }
static int op(const unsigned char *pc) { return pc[length(pc) - 3]; }
static int v(const unsigned char *pc) { return pc[0] == 0x0f ? pc[2] >> 3 & 7 : (pc[3] >> 3 & 7) | (pc[0] << 1 & 8); }
#define REGISTERS 16
#else
#define PC(u) ((u)->uc_mcontext.pc)
#define SYSCALL_RESULT(u) ((u)->uc_mcontext.regs[0])
static uint64_t get(ucontext_t *u, int n) { return u->uc_mcontext.regs[n]; }
static void set(ucontext_t *u, int n, uint64_t v) { u->uc_mcontext.regs[n] = v; }
static int length(const unsigned char *pc) { return (void)pc, 8; }
static int op(const unsigned char *pc) { return pc[0] >> 3; }
static int v(const unsigned char *pc) { return (pc[4] | pc[5] << 8) >> 10 & 31; }
#define REGISTERS 31
#endif

static void on_sigill(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	const unsigned char *pc = (const unsigned char *)PC(u);
	int i;

	(void)sig, (void)info;
	for (i = 0; i < length(pc); i++)
		printf("%02x", pc[i]);
	for (i = 0; i < REGISTERS; i++)
		printf(" %llx", (unsigned long long)get(u, i));
	printf("\n");
	if (op(pc) >= RMEM_OP_CAS && op(pc) <= RMEM_OP_SWAP && answer == 0)
		set(u, v(pc), before);
	set(u, 0, (uint64_t)answer);
	PC(u) += length(pc);
}

static void on_sigsys(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info;
	asked++;
	SYSCALL_RESULT((ucontext_t *)context) = 1;
}

static void want(int line, int64_t got, int64_t expected)
{
	if (got != expected) {
		fprintf(stderr, "operands.c:%d: got %lld, want %lld\n", line, (long long)got, (long long)expected);
		exit(1);
	}
}
#define WANT(got, expected) want(__LINE__, (int64_t)(got), (int64_t)(expected))

int main(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* offsetof(struct seccomp_data, nr) */),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16 /* args[0], low half */),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x524d454d, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {sizeof code / sizeof code[0], code};
	struct sigaction action;
	char *base = (char *)0x7a00000012345678; /* never touched */
	char name[] = "boxes";
	uint64_t old = 1234;
	uint32_t old32 = 1234;

	memset(&action, 0, sizeof action);
	action.sa_flags = SA_SIGINFO;
	action.sa_sigaction = on_sigill;
	sigaction(SIGILL, &action, NULL);
	action.sa_sigaction = on_sigsys;
	sigaction(SIGSYS, &action, NULL);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) {
		perror("operands: seccomp");
		return 77;
	}

	answer = 3;
	WANT(rmem_node(), 3);
	WANT(rmem_nodes(), 3);
	WANT(rmem_poll(), 3);
	WANT(asked, 1);
	WANT(rmem_export(name, base, 0x123456789a, RMEM_READ | RMEM_QUIET), 3);
	WANT(rmem_import(name, 6, RMEM_ATOMIC, -1), 3);
	answer = RMEM_ENOENT;
	WANT(rmem_import(name, 6, RMEM_ATOMIC, 0), RMEM_ENOENT);
	WANT(rmem_revoke(11), RMEM_ENOENT);
	WANT(rmem_inhibit(12, 1), RMEM_ENOENT);
	WANT(rmem_release(13), RMEM_ENOENT);
	WANT(rmem_fence(14), RMEM_ENOENT);
	WANT(rmem_fence(RMEM_EVERY), RMEM_ENOENT);
	WANT(rmem_notify(15, 0x8877665544332211), RMEM_ENOENT);
	WANT((intptr_t)rmem_map(19, 0x8877665544332211, 4096, RMEM_READ | RMEM_WRITE), RMEM_ENOENT);
	WANT(rmem_unmap(base), RMEM_ENOENT);
	answer = 0x123456789000;
	WANT((intptr_t)rmem_map(19, 0, 8192, RMEM_READ), 0x123456789000);
	answer = RMEM_ENOENT;
	WANT(rmem_wait(16, (rmem_event *)base, 250), RMEM_ENOENT);
	WANT(rmem_write(17, 0x8877665544332211, base, 41, RMEM_SWAB16), RMEM_ENOENT);
	WANT(rmem_read(18, 0x8877665544332211, base, 42, RMEM_ASYNC), RMEM_ENOENT);

	/* Run-time flags, the good and the bad. */
	for (volatile unsigned flags = 0; flags < 0x80; flags++) {
		int swab = (flags & 0x0c) == 0 && flags < 0x40;
		WANT(rmem_write(17, 1, base, flags, flags), swab && !(flags & RMEM_ASYNC) ? RMEM_ENOENT : RMEM_EINVAL);
		WANT(rmem_read(18, 1, base, flags, flags), swab && !(flags & RMEM_NOTIFY) ? RMEM_ENOENT : RMEM_EINVAL);
	}

	/* An atomic that fails gives its operand back, and one that succeeds what V came back with. */
	before = 0xfedcba9876543210;
	WANT(rmem_cas(20, 8, 0x1111111111111111, 0x2222222222222222, &old), RMEM_ENOENT);
	WANT(rmem_cas32(20, 8, 0x11111111, 0x22222222, &old32), RMEM_ENOENT);
	WANT(old, 0x2222222222222222);
	WANT(old32, 0x22222222);
	answer = 0;
	WANT(rmem_cas(20, 8, 0x1111111111111111, 0x2222222222222222, &old), 0);
	WANT(old, before);
	WANT(rmem_cas32(20, 8, 0x11111111, 0x22222222, &old32), 0);
	WANT(old32, (uint32_t)before);
	before = 5;
	WANT(rmem_fadd(21, 16, 0x3333333333333333, &old), 0);
	WANT(old, 5);
	WANT(rmem_fadd32(21, 16, 0x33333333, &old32), 0);
	WANT(old32, 5);
	before = 6;
	WANT(rmem_swap(22, 24, 0x4444444444444444, &old), 0);
	WANT(old, 6);
	WANT(rmem_swap32(22, 24, 0x44444444, &old32), 0);
	WANT(old32, 6);
	WANT(rmem_swap(22, 24, 0x5555555555555555, NULL), 0);

	/* Both signs, and what is no error. */
	WANT(strcmp(rmem_strerror(RMEM_ESTALE), "segment revoked"), 0);
	WANT(strcmp(rmem_strerror(-RMEM_ESTALE), "segment revoked"), 0);
	WANT(strcmp(rmem_strerror(0), "success"), 0);
	WANT(strcmp(rmem_strerror(-14), "unknown error"), 0);
	WANT(strcmp(rmem_strerror(INT32_MIN), "unknown error"), 0);
	WANT(asked, 1);
	return 0;
}
