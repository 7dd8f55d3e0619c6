// Runs an instruction of the image in this process, with all registers given.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <cpuid.h>
#include <fcntl.h>
#include <linux/futex.h>

#include "../layout.h"

#define CHECK(condition, ...) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
			fprintf(stderr, __VA_ARGS__); \
			fputc('\n', stderr); \
			_exit(1); \
		} \
	} while (0)

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

// Operations, as package decode numbers them.
enum { OP_WRITE = 6, OP_READ, OP_CAS, OP_FADD, OP_SWAP, OP_FENCE, OP_NOTIFY, OP_WAIT, OP_POLL = 16, OPS };

// What the vector state is kept in: x87, SSE, AVX, AVX-512, as far as the processor has them.
enum { XSAVE_SIZE = 4096, XSAVE_HEADER = 512, XSAVE_HEADER_END = 576 };

struct cpu {
	u64 in[16], in_flags, out[16], out_flags;
	u64 host, target, outcome;
	u8 *xin, *xout; // 0: not touched
	u64 xmask;
};

static __thread struct cpu *current __attribute__((used));
static __thread u64 scratch __attribute__((used)), target __attribute__((used));

void run(struct cpu *);
extern u8 back_fast[], back_slow[];

__asm__(
	".text\n"
	"run:\n"
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"mov %rsp, 272(%rdi)\n" // host
	"mov %rdi, %fs:current@tpoff\n"
	"mov 280(%rdi), %rax; mov %rax, %fs:target@tpoff\n"
	"mov 296(%rdi), %rcx; test %rcx, %rcx; jz 1f\n"
	"mov 312(%rdi), %rax; mov %rax, %rdx; shr $32, %rdx; xrstor64 (%rcx)\n"
	"1: mov 32(%rdi), %rsp\n"
	"lea -512(%rsp), %rsp; push 128(%rdi); popfq; lea 512(%rsp), %rsp\n"
	"mov 0(%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx; mov 40(%rdi), %rbp; mov 48(%rdi), %rsi\n"
	"mov 64(%rdi), %r8; mov 72(%rdi), %r9; mov 80(%rdi), %r10; mov 88(%rdi), %r11; mov 96(%rdi), %r12; mov 104(%rdi), %r13\n"
	"mov 112(%rdi), %r14; mov 120(%rdi), %r15; mov 56(%rdi), %rdi\n"
	"jmp *%fs:target@tpoff\n"
	".globl back_fast, back_slow\n"
	"back_fast: mov %rax, %fs:scratch@tpoff; mov %fs:current@tpoff, %rax; movq $0, 288(%rax); jmp 2f\n"
	"back_slow: mov %rax, %fs:scratch@tpoff; mov %fs:current@tpoff, %rax; movq $1, 288(%rax)\n"
	"2: mov %rcx, 136+8(%rax); mov %rdx, 136+16(%rax); mov %rbx, 136+24(%rax); mov %rsp, 136+32(%rax); mov %rbp, 136+40(%rax)\n"
	"mov %rsi, 136+48(%rax); mov %rdi, 136+56(%rax); mov %r8, 136+64(%rax); mov %r9, 136+72(%rax); mov %r10, 136+80(%rax)\n"
	"mov %r11, 136+88(%rax); mov %r12, 136+96(%rax); mov %r13, 136+104(%rax); mov %r14, 136+112(%rax); mov %r15, 136+120(%rax)\n"
	"mov %fs:scratch@tpoff, %rcx; mov %rcx, 136(%rax)\n"
	"lea -512(%rsp), %rsp; pushfq; pop %rcx; mov %rcx, 264(%rax); cld\n"
	"mov %rax, %rdi\n"
	"mov 304(%rdi), %rcx; test %rcx, %rcx; jz 3f\n"
	"mov 312(%rdi), %rax; mov %rax, %rdx; shr $32, %rdx; xsave64 (%rcx)\n"
	"3: mov 272(%rdi), %rsp\n"
	"pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n");

_Static_assert(offsetof(struct cpu, host) == 272 && offsetof(struct cpu, xmask) == 312, "the assembly has these offsets");

// A region of code: the image, and trampolines and what else is made here behind it. It is written through another mapping.
enum { REGION = 4 << 20 };
static u8 *region, *region_rw;
static u64 region_used;

static void *map(size_t size)
{
	void *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED, "%s", strerror(errno));
	return p;
}

static void load(const char *image)
{
	int f = open(image, O_RDONLY), m = memfd_create("region", 0);
	struct stat st;
	CHECK(f >= 0 && m >= 0 && fstat(f, &st) == 0 && ftruncate(m, REGION) == 0, "%s: %s", image, strerror(errno));
	region_rw = mmap(0, REGION, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
	region = mmap(0, REGION, PROT_READ | PROT_EXEC, MAP_SHARED, m, 0);
	CHECK(region != MAP_FAILED && region_rw != MAP_FAILED, "%s", strerror(errno));
	CHECK(read(f, region_rw, st.st_size) == st.st_size, "%s", strerror(errno));
	region_used = (st.st_size + 63) & ~63;
	close(f);
	close(m);
}

// emit copies code to the region and returns where it is.
static u8 *emit(const void *code, size_t n)
{
	u64 at = region_used;
	CHECK(at + n <= REGION, "the region is full");
	memcpy(region_rw + at, code, n);
	region_used += (n + 15) & ~15;
	return region + at;
}

static const u64 entries[OPS] = {ENTRIES};

// What stands in the place of a trap in the trampoline.
struct trampoline {
	struct site site;
	u8 code[128];
};

// place makes a trampoline, which goes on at fast or slow, and returns where it begins. At length after the other a few are never more than a region.
static u8 *place(const struct board *b, u8 op, u8 flags, u8 width, u8 v, u8 a, u8 p, const void *fast, const void *slow)
{
	struct trampoline t = {.site = {.board = b, .op = op, .flags = flags, .width = width, .v = v, .a = a, .p = p}};
	region_used = (region_used + 63) & ~63;
	u8 *base = region + region_used, *code = base + offsetof(struct trampoline, code);
	int n = 0;
#define BYTES(...) \
	do { \
		u8 bytes[] = {__VA_ARGS__}; \
		memcpy(t.code + n, bytes, sizeof bytes); \
		n += sizeof bytes; \
	} while (0)
#define WORD32(x) \
	do { \
		int v32 = (x); \
		memcpy(t.code + n, &v32, 4); \
		n += 4; \
	} while (0)
	BYTES(0x48, 0x8d, 0xa4, 0x24); // lea -FRAME(%rsp), %rsp
	WORD32(-FRAME);
	BYTES(0x48, 0x89, 0x04, 0x24); // mov %rax, (%rsp)
	BYTES(0x48, 0x8d, 0x05);       // lea site(%rip), %rax
	WORD32((int)(base - (code + n + 4)));
	BYTES(0xe9); // jmp enter
	WORD32((int)(region + ENTER - (code + n + 4)));
	const void *to[2] = {fast, slow};
	for (int i = 0; i < 2; i++) {
		*(i ? &t.site.slow : &t.site.fast) = code + n;
		BYTES(0x48, 0x8d, 0xa4, 0x24); // lea FRAME(%rsp), %rsp
		WORD32(FRAME);
		BYTES(0xff, 0x25, 0, 0, 0, 0); // jmp *0(%rip)
		memcpy(t.code + n, &to[i], 8);
		n += 8;
	}
	CHECK(entries[op] != 0, "operation %d has no stub", op);
	t.site.stub = (void *)(region + entries[op]);
	emit(&t, sizeof t);
	return code;
}

// A guest's stack: the red zone and a bit above, and room for the stub below.
enum { STACK_SIZE = 64 << 10 };

struct guest {
	struct board *board; // as rmemrun writes it
	struct cpu cpu;
	u8 *stack;
	u8 *at[OPS][4][2]; // trampolines with standard registers
};

// Standard registers of an instruction.
enum { V = RSI, A = RDI, P = RBX };

static int log2of(int width) { return __builtin_ctz(width); }

// go executes an instruction with the standard registers and returns the result, or TRAPPED.
enum { TRAPPED = -1000 };
static i64 go(struct guest *g, u8 op, u8 flags, u8 width, u64 v, u64 a, u64 p, u64 c, u64 d)
{
	u8 **t = &g->at[op][log2of(width)][flags & 1];
	if (!*t) // one thread at a time
		*t = place(g->board, op, flags, width, V, A, P, back_fast, back_slow);
	g->cpu.target = (u64)*t;
	g->cpu.in[V] = v, g->cpu.in[A] = a, g->cpu.in[P] = p, g->cpu.in[RCX] = c, g->cpu.in[RDX] = d;
	g->cpu.in[RSP] = (u64)g->stack + STACK_SIZE - 1024;
	g->cpu.in_flags = 0x202;
	run(&g->cpu);
	return g->cpu.outcome ? TRAPPED : (i64)g->cpu.out[RAX];
}

static u64 seed = 1;
static u64 rnd(void)
{
	u64 z = __atomic_add_fetch(&seed, 0x9e3779b97f4a7c15, __ATOMIC_RELAXED); // splitmix64
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}
