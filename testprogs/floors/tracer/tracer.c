/*
 * The floor of the ptrace engine: the least that a tracer can do to serve the remote-memory instructions of a guest.
 *
 *     tracer PROGRAM [ARGUMENT...]
 *
 * It runs PROGRAM on two nodes and carries out its instructions with the system calls that rmemrun's
 * engine makes for them, no more and no fewer:
 *
 *     wait4, PTRACE_GETSIGINFO, PTRACE_GETREGS, process_vm_readv (the instruction, and the source of a write),
 *     [process_vm_writev (the result of a read)], PTRACE_POKEUSER or PTRACE_SETREGS, PTRACE_CONT
 *
 * In between it checks the bounds and copies to or from one buffer of its own, which stands for every segment. There are
 * no names, rights, descriptors, circuits, cells or checksums, no process but the guests', and no defence against them:
 * what this costs beside rmemrun is what all those cost. It is compiled and run by rmemrun bench.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NODES_RUN = 2 };
enum { EXPORT = 1, REVOKE, INHIBIT, IMPORT, RELEASE, WRITE, READ, CAS, FADD, SWAP, FENCE, NOTIFY, WAIT, NODE, NODES };
enum { NOTIFY_FLAG = 1 };
enum { ERANGE_ = -3, EFAULT_ = -7, EINVAL_ = -8, EDOWN_ = -11 };

#define MAGIC 0x5A0Du
#define GUARD 0x524d454dUL /* prctl of this number asks: is there anybody who serves the instructions? */
#define CODE 9             /* octets of the longest instruction */
#define MAXTHREADS 256

typedef struct user_regs_struct regs;

/* Registers by their number in an instruction. */
static const size_t reg_at[16] = {
	offsetof(regs, rax), offsetof(regs, rcx), offsetof(regs, rdx), offsetof(regs, rbx),
	offsetof(regs, rsp), offsetof(regs, rbp), offsetof(regs, rsi), offsetof(regs, rdi),
	offsetof(regs, r8),  offsetof(regs, r9),  offsetof(regs, r10), offsetof(regs, r11),
	offsetof(regs, r12), offsetof(regs, r13), offsetof(regs, r14), offsetof(regs, r15),
};

#define REG(r, n) (*(unsigned long long *)((char *)(r) + reg_at[n]))

/* An instruction that was decoded before, found by its address. */
struct site {
	uint64_t pc;
	uint8_t code[CODE];
	uint8_t len, op, flags, width, v, a, p;
};

struct thread {
	pid_t tid;
	int node;
};

struct guest {
	pid_t pid;
	int notified;  /* an event that nobody has taken */
	pid_t asleep;  /* the thread in wait, or 0 */
	regs regs;     /* its registers */
	uint8_t width; /* its instruction's length */
	uint64_t event;
};

static struct site sites[1024];
static struct thread threads[MAXTHREADS], *last;
static struct guest guests[NODES_RUN];
static int ended; /* a guest has */
static uint8_t segment[2 << 20], staging[2 << 20];

static void die(const char *what)
{
	fprintf(stderr, "tracer: %s: %s\n", what, strerror(errno));
	exit(125);
}

/* [REX] 0F B9 /r with mod 10, rm 100: SIB, and 32 bits of displacement; see docs/isa.md. */
static int decode(const uint8_t *b, struct site *s)
{
	unsigned rex = (b[0] & 0xf0) == 0x40 ? *b++ : 0;
	uint32_t disp;

	if (b[0] != 0x0f || b[1] != 0xb9 || (b[2] & 0xc7) != 0x84 || rex & 8)
		return 0;
	memcpy(&disp, b + 4, 4);
	if (disp >> 16 != MAGIC)
		return 0;
	s->len = rex ? 9 : 8;
	s->op = disp >> 8;
	s->flags = disp;
	s->width = 1 << (b[3] >> 6);
	s->v = (b[2] >> 3 & 7) | (rex << 1 & 8);
	s->a = (b[3] & 7) | (rex << 3 & 8);
	s->p = (b[3] >> 3 & 7) | (rex << 2 & 8);
	return 1;
}

/* Reads from two places of the guest at once, as far as it gets. */
static ssize_t read_two(pid_t tid, void *a, uint64_t at_a, size_t len_a, void *b, uint64_t at_b, size_t len_b)
{
	struct iovec to[2] = {{a, len_a}, {b, len_b}};
	struct iovec from[2] = {{(void *)at_a, len_a}, {(void *)at_b, len_b}};

	return process_vm_readv(tid, to, len_b ? 2 : 1, from, len_b ? 2 : 1, 0);
}

static int put(pid_t tid, uint64_t at, void *from, size_t len)
{
	struct iovec local = {from, len}, remote = {(void *)at, len};

	return process_vm_writev(tid, &local, 1, &remote, 1, 0) == (ssize_t)len;
}

static int inside(uint64_t off, uint64_t len)
{
	return len <= sizeof segment && off <= sizeof segment - len;
}

/* One atomic; returns 0 and leaves in *v what the word held, or an error. */
static long atomic(const struct site *s, uint64_t off, unsigned long long *v, uint64_t expected)
{
	if (!inside(off, s->width))
		return ERANGE_;
	if (s->width == 8) {
		uint64_t *word = (uint64_t *)(segment + off), old = expected;
		if (s->op == CAS)
			__atomic_compare_exchange_n(word, &old, *v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		else if (s->op == FADD)
			old = __atomic_fetch_add(word, *v, __ATOMIC_SEQ_CST);
		else
			old = __atomic_exchange_n(word, *v, __ATOMIC_SEQ_CST);
		*v = old;
	} else {
		uint32_t *word = (uint32_t *)(segment + off), old = (uint32_t)expected;
		if (s->op == CAS)
			__atomic_compare_exchange_n(word, &old, (uint32_t)*v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		else if (s->op == FADD)
			old = __atomic_fetch_add(word, (uint32_t)*v, __ATOMIC_SEQ_CST);
		else
			old = __atomic_exchange_n(word, (uint32_t)*v, __ATOMIC_SEQ_CST);
		*v = old;
	}
	return 0;
}

/* Sets a thread going behind its instruction. */
static void finish(pid_t tid, regs *r, unsigned len, long result, int changed)
{
	r->rip += len;
	if (!changed && (long)r->rax == result) {
		ptrace(PTRACE_POKEUSER, tid, offsetof(struct user, regs.rip), r->rip);
	} else {
		r->rax = result;
		ptrace(PTRACE_SETREGS, tid, 0, r);
	}
	ptrace(PTRACE_CONT, tid, 0, 0);
}

/* Hands an event over: that there was one is all the guest looks at. */
static long event(pid_t tid, uint64_t at)
{
	uint32_t ev[8] = {0, NOTIFY};

	return put(tid, at, ev, sizeof ev) ? 0 : EFAULT_;
}

static void notify(int from)
{
	struct guest *g = &guests[1 - from];

	if (g->asleep) {
		finish(g->asleep, &g->regs, g->width, event(g->asleep, g->event), 0);
		g->asleep = 0;
	} else {
		g->notified = 1;
	}
}

/* Ends the wait of a guest whose peer has ended. */
static void down(int node)
{
	struct guest *g = &guests[node];

	if (g->asleep)
		finish(g->asleep, &g->regs, g->width, EDOWN_, 0);
	g->asleep = 0;
}

/* A thread stopped for SIGILL. Returns 0 if the signal is its own. */
static int trapped(struct thread *t)
{
	siginfo_t si;
	regs r;
	uint8_t code[CODE];
	uint64_t off, len;
	long result = 0;
	int changed = 0;
	pid_t tid = t->tid;

	if (ptrace(PTRACE_GETSIGINFO, tid, 0, &si) || si.si_code != ILL_ILLOPN || ptrace(PTRACE_GETREGS, tid, 0, &r))
		return 0;

	struct site *s = &sites[(r.rip >> 3) % 1024];
	int write = 0, whole = 0;
	if (s->pc == r.rip) {
		write = s->op == WRITE && r.rcx <= sizeof staging;
		len = write ? r.rcx : 0;
		ssize_t got = read_two(tid, code, r.rip, s->len, staging, REG(&r, s->v), len);
		whole = got == (ssize_t)(s->len + len);
		if (got < s->len || memcmp(code, s->code, s->len))
			s->pc = 0;
	}
	if (s->pc != r.rip) {
		if (read_two(tid, code, r.rip, CODE, 0, 0, 0) != CODE || !decode(code, s))
			return 0;
		s->pc = r.rip;
		memcpy(s->code, code, CODE);
		write = s->op == WRITE && r.rcx <= sizeof staging;
		whole = !write || r.rcx == 0 || read_two(tid, staging, REG(&r, s->v), r.rcx, 0, 0, 0) == (ssize_t)r.rcx;
	}
	off = REG(&r, s->a);
	len = r.rcx;

	switch (s->op) {
	case WRITE:
		if (!inside(off, len))
			result = ERANGE_;
		else if (!whole)
			result = EFAULT_;
		else
			memcpy(segment + off, staging, len);
		break;
	case READ:
		if (!inside(off, len))
			result = ERANGE_;
		else if (!put(tid, REG(&r, s->v), segment + off, len))
			result = EFAULT_;
		break;
	case CAS:
	case FADD:
	case SWAP:
		result = atomic(s, off, &REG(&r, s->v), r.rdx);
		changed = result == 0;
		break;
	case NOTIFY:
		break;
	case WAIT: {
		struct guest *g = &guests[t->node];
		if (!g->notified && ended) {
			result = EDOWN_;
			break;
		}
		if (!g->notified) {
			g->asleep = tid;
			g->regs = r;
			g->width = s->len;
			g->event = REG(&r, s->v);
			return 1;
		}
		g->notified = 0;
		result = event(tid, REG(&r, s->v));
		break;
	}
	case NODE:
		result = t->node;
		break;
	case NODES:
		result = NODES_RUN;
		break;
	case EXPORT:
	case REVOKE:
	case IMPORT:
	case RELEASE:
	case FENCE:
		break;
	default:
		result = EINVAL_;
	}
	finish(tid, &r, s->len, result, changed);
	if (s->op == NOTIFY || (s->flags & NOTIFY_FLAG && s->op != READ))
		notify(t->node);
	return 1;
}

/* Answers the guard's prctl: 1, and the system call is left out. */
static void answer(pid_t tid)
{
	regs r;

	ptrace(PTRACE_GETREGS, tid, 0, &r);
	r.orig_rax = -1;
	r.rax = 1;
	ptrace(PTRACE_SETREGS, tid, 0, &r);
}

static void child(char **argv)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, GUARD, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};

	if (ptrace(PTRACE_TRACEME, 0, 0, 0) || raise(SIGSTOP) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("setting up the guest");
	execv(argv[0], argv);
	die(argv[0]);
}

/* The node that a new thread belongs to, by its process. */
static int node_of(pid_t tid)
{
	char name[64], line[128];
	int pid = 0;
	FILE *f;

	snprintf(name, sizeof name, "/proc/%d/status", tid);
	f = fopen(name, "r");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "Tgid: %d", &pid) == 1)
			break;
	if (f)
		fclose(f);
	return pid == guests[1].pid;
}

/* Finds a thread; *new tells that it was not known before. */
static struct thread *find(pid_t tid, int *new)
{
	struct thread *t, *empty = NULL;

	*new = 0;
	if (last && last->tid == tid)
		return last;
	for (t = threads; t < threads + MAXTHREADS; t++) {
		if (t->tid == tid)
			return last = t;
		if (t->tid == 0 && !empty)
			empty = t;
	}
	if (!empty) {
		errno = EAGAIN;
		die("the guests have too many threads");
	}
	*new = 1;
	empty->tid = tid;
	empty->node = node_of(tid);
	return last = empty;
}

int main(int argc, char **argv)
{
	int i, live, new, status, failed = 0;
	struct thread *t;

	if (argc < 2) {
		fprintf(stderr, "usage: tracer PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	for (i = 0; i < NODES_RUN; i++) {
		pid_t pid = fork();
		if (pid < 0)
			die("fork");
		if (pid == 0)
			child(argv + 1);
		guests[i].pid = pid;
		if (wait4(pid, &status, __WALL, NULL) != pid || !WIFSTOPPED(status) ||
		    ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESECCOMP))
			die("tracing the guest");
		find(pid, &new);
	}
	for (i = 0; i < NODES_RUN; i++)
		ptrace(PTRACE_CONT, guests[i].pid, 0, 0);

	for (live = NODES_RUN; live > 0;) {
		pid_t tid = wait4(-1, &status, __WALL, NULL);
		if (tid < 0) {
			if (errno == EINTR)
				continue;
			die("wait4");
		}
		t = find(tid, &new);
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			for (i = 0; i < NODES_RUN; i++) {
				if (guests[i].pid != tid)
					continue;
				live--;
				if (!failed)
					failed = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
				if (failed) /* takes the other guest along: EXITKILL */
					return failed;
				ended = 1;
				down(1 - i);
			}
			t->tid = 0;
			continue;
		}
		int sig = WSTOPSIG(status);
		if (status >> 16) { /* PTRACE_EVENT_ */
			if (status >> 16 == PTRACE_EVENT_SECCOMP)
				answer(tid);
			sig = 0;
		} else if (new && sig == SIGSTOP) {
			sig = 0; /* a new thread's first stop */
		} else if (sig == SIGILL && trapped(t)) {
			continue;
		}
		ptrace(PTRACE_CONT, tid, 0, sig);
	}
	return 0;
}
