/*
 * rmem.h - remote-memory instructions for C and C++ programs.
 *
 * A program that includes this header contains instructions which no processor has: reads, writes and atomics on the
 * memory of another node. rmemrun traps them and carries them out. There is nothing to link:
 *
 *     rmemrun cc -O2 -o hello hello.c
 *     rmemrun -n 2 ./hello
 *
 * C11 or C++17, gcc or clang, x86-64 or arm64 Linux; static, PIE and multi-threaded programs; no other header than
 * <stddef.h> and <stdint.h>. In a file that the assembler preprocesses (.S), the header defines the constants and
 * RMEM_INSN alone.
 *
 *     static uint64_t box[5];                                            node 1 exports 40 bytes:
 *     rmem_seg s = rmem_export("box", box, sizeof box, RMEM_WRITE);
 *     rmem_event e;
 *     rmem_wait(s, &e, -1);                                              ... and sleeps until they are written
 *
 *     rmem_desc d = rmem_import("box", 1, RMEM_WRITE, -1);               node 0 imports them:
 *     rmem_write(d, 0, msg, 40, RMEM_NOTIFY);                            one cell; node 1 wakes
 *     int rc = rmem_fence(d);                                            what did the far side say?
 *
 * Segments and descriptors are numbers of the address space that made them: its threads share them, a forked child has
 * none, exec and exit end them. Every function returns a negative RMEM_E... when it fails; what is refused changes no
 * byte. Each is a compiler barrier. A run of the program without rmemrun ends at its first remote instruction with one
 * line on standard error and status 126.
 */
#ifndef RMEM_H
#define RMEM_H

/* ---- Constants -------------------------------------------------------------------------------------------------- */

/* Rights: what an exporter grants to importers, and what an importer asks for. */
#define RMEM_READ 1   /* rmem_read */
#define RMEM_WRITE 2  /* rmem_write */
#define RMEM_ATOMIC 4 /* rmem_cas, rmem_fadd, rmem_swap and their 32-bit forms */
#define RMEM_QUIET 8  /* export only: the segment refuses every notification (RMEM_EPERM) */

/*
 * Flags of rmem_write and rmem_read. At most one RMEM_SWAB, else RMEM_EINVAL.
 *
 *     5   4   3   2   1        0
 *   +-------+-------+-------+--------+
 *   | swab  |   0   | ASYNC | NOTIFY |      swab: log2 of the word in bytes
 *   +-------+-------+-------+--------+
 */
#define RMEM_NOTIFY 0x01 /* write: when the data is there, wake the exporter's rmem_wait */
#define RMEM_ASYNC 0x02  /* read: return at once; the data is there after the next rmem_fence on the descriptor */
#define RMEM_SWAB16 0x10 /* reverse the bytes of each 2-byte word on the way */
#define RMEM_SWAB32 0x20 /* reverse the bytes of each 4-byte word on the way */
#define RMEM_SWAB64 0x30 /* reverse the bytes of each 8-byte word on the way */

/* For rmem_fence: every descriptor of this address space. */
#define RMEM_EVERY 0x7fffffff

/* Errors. rmem_strerror gives the text. */
#define RMEM_EDESC (-1)      /* no such segment or descriptor: never given, released, forged */
#define RMEM_EPERM (-2)      /* the right was not granted, or the segment refuses notifications */
#define RMEM_ERANGE (-3)     /* offset + length is outside the segment */
#define RMEM_EALIGN (-4)     /* an atomic off its natural alignment; a length that is no multiple of the swab word */
#define RMEM_ESTALE (-5)     /* the segment was revoked */
#define RMEM_EINHIBIT (-6)   /* the owner refuses writes and atomics at present: rmem_inhibit */
#define RMEM_EFAULT (-7)     /* this program's own buffer is not mapped, or not with the access needed */
#define RMEM_EINVAL (-8)     /* an argument no call accepts: flags, rights, name, node, memory of the wrong kind */
#define RMEM_ENOENT (-9)     /* the node exports nothing by that name */
#define RMEM_EEXIST (-10)    /* this node already exports that name */
#define RMEM_EDOWN (-11)     /* the other node is gone */
#define RMEM_ETIMEDOUT (-12) /* the time given was up */
#define RMEM_ENOSPC (-13)    /* no more segments, descriptors or circuits */

/* Operation numbers: in the instruction, and in rmem_event.op. */
#define RMEM_OP_EXPORT 1
#define RMEM_OP_REVOKE 2
#define RMEM_OP_INHIBIT 3
#define RMEM_OP_IMPORT 4
#define RMEM_OP_RELEASE 5
#define RMEM_OP_WRITE 6
#define RMEM_OP_READ 7
#define RMEM_OP_CAS 8
#define RMEM_OP_FADD 9
#define RMEM_OP_SWAP 10
#define RMEM_OP_FENCE 11
#define RMEM_OP_NOTIFY 12
#define RMEM_OP_WAIT 13
#define RMEM_OP_NODE 14
#define RMEM_OP_NODES 15
#define RMEM_OP_POLL 16
#define RMEM_OP_MAP 17
#define RMEM_OP_UNMAP 18

/*
 * ---- The instruction ---------------------------------------------------------------------------------------------
 *
 * Three operands are registers that the compiler chooses: V (value or local address), A (offset) and P (segment or
 * descriptor). Three are implied. A field that an operation does not use is register 0. docs/isa.md is the reference.
 *
 * x86-64: UD1, an opcode reserved for ever to be undefined, 8 bytes, or 9 with REX, aligned to 8 so that the first five
 * bytes can be replaced by one store. Result RAX, count RCX, extra operand RDX.
 *
 *    optional      0F B9        ModRM               SIB                    disp32, little endian
 *   +----------+---------+---------------+----------------------+-------------------------------------+
 *   | 0100 0RXB| 0F | B9 | 10 | V  | 100 | log2 width | P  | A  |   5A0D (31..16) |  op  |   flags    |
 *   +----------+---------+---------------+----------------------+-------------------------------------+
 *
 * In the assembler:  .p2align 3;  ud1l RMEM_INSN(RMEM_OP_WRITE, RMEM_NOTIFY)(A, P, 1), V   (A, P: 64-bit names; V: 32)
 *
 * arm64: two UDF words, aligned to 8. Result X0, count X1, extra operand X2.
 *
 *    31       16 15        8 7     3  2    1   0        31       16 15 14  10 9   5 4   0
 *   +-----------+-----------+-------+----+--------+    +-----------+--+------+-----+-----+
 *   |     0     |    B5     |  op   |flag| log2 w |    |     0     | 1|  V   |  A  |  P  |
 *   +-----------+-----------+-------+----+--------+    +-----------+--+------+-----+-----+
 */
#if defined(__x86_64__) && !defined(__ILP32__)
#define RMEM_INSN(op, flags) (0x5a0d0000 + (op) * 256 + (flags))
#elif defined(__aarch64__) && !defined(__ILP32__) && !defined(__AARCH64EB__)
#define RMEM_INSN(op, flags, log2w) (0xb500 + (op) * 8 + ((flags) + 1) / 2 * 4 + (log2w))
#else
#error "rmem.h: remote-memory instructions are defined for x86-64 and little-endian arm64 Linux only"
#endif

#ifndef __ASSEMBLER__

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t rmem_seg;  /* a segment: memory of this program that others may reach; < 0: an error */
typedef int32_t rmem_desc; /* a descriptor: an imported segment of a node; < 0: an error */

/*
 * What rmem_wait returns: the notifications that came through one descriptor since the last wait, joined to one event.
 * Those of different descriptors stay apart and come in the order of their first arrival.
 */
typedef struct rmem_event {
	uint32_t node;   /* who notified */
	uint32_t op;     /* by what, last: RMEM_OP_WRITE, RMEM_OP_NOTIFY, ... */
	uint64_t offset; /* first byte touched, from the start of the segment */
	uint64_t len;    /* bytes from there to the end of the last byte touched; 0 for RMEM_OP_NOTIFY alone */
	uint64_t count;  /* how many notifications this event stands for, at least 1 */
} rmem_event;

/* ---- Encoding: nothing below this line and above "Functions" is for use in programs ------------------------------ */

#define RMEM_STRING_(text) RMEM_STRING_TOO_(text)
#define RMEM_STRING_TOO_(text) #text

#if defined(__x86_64__)

/* Constraint "l" is any general register but RSP, whose number is reserved in all three fields. */
#define RMEM_ANY_ "l"
#define RMEM_RESULT_ "rax"
#define RMEM_COUNT_ "rcx"
#define RMEM_EXTRA_ "rdx"
#define RMEM_V_ "%k[v]"
#define RMEM_A_ "%q[a]"
#define RMEM_P_ "%q[p]"
#define RMEM_NO_V_ "%%eax"
#define RMEM_NO_A_ "%%rax"
#define RMEM_NO_P_ "%%rax"
#define RMEM_TEXT_(op, flags, width, V, A, P)                                                                          \
	".p2align 3\n\tud1l " RMEM_STRING_(RMEM_INSN(op, flags)) "(" A "," P "," #width "), " V

#define RMEM_SYS_READ_ 0
#define RMEM_SYS_WRITE_ 1
#define RMEM_SYS_PRCTL_ 157
#define RMEM_SYS_EXIT_GROUP_ 231
#define RMEM_SYS_OPENAT_ 257

static inline long rmem_syscall_(long number, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = 0;
	long result;
	__asm__ __volatile__("syscall"
			     : "=a"(result)
			     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			     : "rcx", "r11", "memory");
	return result;
}

#else /* arm64 */

#define RMEM_ANY_ "r"
#define RMEM_RESULT_ "x0"
#define RMEM_COUNT_ "x1"
#define RMEM_EXTRA_ "x2"
#define RMEM_V_ ".Lrmem_%x[v]"
#define RMEM_A_ ".Lrmem_%x[a]"
#define RMEM_P_ ".Lrmem_%x[p]"
#define RMEM_NO_V_ "0"
#define RMEM_NO_A_ "0"
#define RMEM_NO_P_ "0"
#define RMEM_LOG2_1_ 0
#define RMEM_LOG2_2_ 1
#define RMEM_LOG2_4_ 2
#define RMEM_LOG2_8_ 3
/* The assembler cannot say "the number of register %x[v]": a symbol for each register gives it. */
#define RMEM_TEXT_(op, flags, width, V, A, P)                                                                          \
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30\n\t"                \
	".equ .Lrmem_x\\n, \\n\n\t"                                                                                    \
	".endr\n\t"                                                                                                    \
	".p2align 3\n\t"                                                                                               \
	".inst " RMEM_STRING_(RMEM_INSN(op, flags, RMEM_LOG2_##width##_)) "\n\t"                                       \
	".inst 0x8000+" V "*1024+" A "*32+" P

#define RMEM_SYS_OPENAT_ 56
#define RMEM_SYS_READ_ 63
#define RMEM_SYS_WRITE_ 64
#define RMEM_SYS_EXIT_GROUP_ 94
#define RMEM_SYS_PRCTL_ 167

static inline long rmem_syscall_(long number, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = 0;
	__asm__ __volatile__("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
}

#endif

/*
 * The shapes an instruction comes in, named after the operands it uses; C is the count, D the extra operand. Each is a
 * statement that declares `result_`. V of RMEM_OLD_ is written too, hence never the result register.
 */
#define RMEM_ISSUE_(text, ...)                                                                                         \
	register int64_t result_ __asm__(RMEM_RESULT_);                                                                \
	__asm__ __volatile__(text : "=r"(result_) __VA_ARGS__ : "memory")
#define RMEM_NONE_(op) RMEM_ISSUE_(RMEM_TEXT_(op, 0, 1, RMEM_NO_V_, RMEM_NO_A_, RMEM_NO_P_), :)
#define RMEM_P_ONLY_(op, P) RMEM_ISSUE_(RMEM_TEXT_(op, 0, 1, RMEM_NO_V_, RMEM_NO_A_, RMEM_P_), : [p] RMEM_ANY_(P))
#define RMEM_V_ONLY_(op, V) RMEM_ISSUE_(RMEM_TEXT_(op, 0, 1, RMEM_V_, RMEM_NO_A_, RMEM_NO_P_), : [v] RMEM_ANY_(V))
#define RMEM_VP_(op, V, P)                                                                                             \
	RMEM_ISSUE_(RMEM_TEXT_(op, 0, 1, RMEM_V_, RMEM_NO_A_, RMEM_P_), : [v] RMEM_ANY_(V), [p] RMEM_ANY_(P))
#define RMEM_AP_(op, A, P)                                                                                             \
	RMEM_ISSUE_(RMEM_TEXT_(op, 0, 1, RMEM_NO_V_, RMEM_A_, RMEM_P_), : [a] RMEM_ANY_(A), [p] RMEM_ANY_(P))
#define RMEM_VAP_(op, V, A, P)                                                                                         \
	RMEM_ISSUE_(RMEM_TEXT_(op, 0, 1, RMEM_V_, RMEM_A_, RMEM_P_),                                                   \
		    : [v] RMEM_ANY_(V), [a] RMEM_ANY_(A), [p] RMEM_ANY_(P))
#define RMEM_VAPC_(op, flags, width, V, A, P, C)                                                                       \
	register uint64_t count_ __asm__(RMEM_COUNT_) = C;                                                             \
	RMEM_ISSUE_(RMEM_TEXT_(op, flags, width, RMEM_V_, RMEM_A_, RMEM_P_),                                           \
		    : [v] RMEM_ANY_(V), [a] RMEM_ANY_(A), [p] RMEM_ANY_(P), "r"(count_))
#define RMEM_VAPCD_(op, V, A, P, C, D)                                                                                 \
	register uint64_t count_ __asm__(RMEM_COUNT_) = C;                                                             \
	register uint64_t extra_ __asm__(RMEM_EXTRA_) = D;                                                             \
	RMEM_ISSUE_(RMEM_TEXT_(op, 0, 1, RMEM_V_, RMEM_A_, RMEM_P_),                                                   \
		    : [v] RMEM_ANY_(V), [a] RMEM_ANY_(A), [p] RMEM_ANY_(P), "r"(count_), "r"(extra_))
#define RMEM_APCD_(op, A, P, C, D)                                                                                     \
	register uint64_t count_ __asm__(RMEM_COUNT_) = C;                                                             \
	register uint64_t extra_ __asm__(RMEM_EXTRA_) = D;                                                             \
	RMEM_ISSUE_(RMEM_TEXT_(op, 0, 1, RMEM_NO_V_, RMEM_A_, RMEM_P_),                                                \
		    : [a] RMEM_ANY_(A), [p] RMEM_ANY_(P), "r"(count_), "r"(extra_))
#define RMEM_OLD_(op, width, V, A, P)                                                                                  \
	RMEM_ISSUE_(RMEM_TEXT_(op, 0, width, RMEM_V_, RMEM_A_, RMEM_P_),                                               \
		    , [v] "+" RMEM_ANY_(V) : [a] RMEM_ANY_(A), [p] RMEM_ANY_(P))
#define RMEM_OLD_D_(op, width, V, A, P, D)                                                                             \
	register uint64_t extra_ __asm__(RMEM_EXTRA_) = D;                                                             \
	RMEM_ISSUE_(RMEM_TEXT_(op, 0, width, RMEM_V_, RMEM_A_, RMEM_P_),                                               \
		    , [v] "+" RMEM_ANY_(V) : [a] RMEM_ANY_(A), [p] RMEM_ANY_(P), "r"(extra_))

/*
 * The guard. Under rmemrun prctl(RMEM_PRCTL_) returns 1; no kernel knows it, so elsewhere it fails. The answer is kept
 * once per file that includes the header; threads that ask at the same time get the same one, and a child that was
 * forked under rmemrun still runs under it.
 */
#define RMEM_PRCTL_ 0x524d454d /* "RMEM" */

__attribute__((unused)) static int rmem_ready_;

__attribute__((unused, cold, noinline)) static void rmem_first_(void)
{
	/* No libc here: a guest need not have one, and the process may be in any state. */
	static const char does[] = ": uses remote-memory instructions; run it as: rmemrun -n N ";
	char line[1024], name[400];
	size_t n = 0, i, end = 0;
	long fd, got = 0;

	if (rmem_syscall_(RMEM_SYS_PRCTL_, RMEM_PRCTL_, 0, 0, 0) == 1) {
		__atomic_store_n(&rmem_ready_, 1, __ATOMIC_RELAXED);
		return;
	}
	fd = rmem_syscall_(RMEM_SYS_OPENAT_, -100 /* AT_FDCWD */, (long)"/proc/self/cmdline", 0, 0);
	if (fd >= 0)
		got = rmem_syscall_(RMEM_SYS_READ_, fd, (long)name, (long)sizeof name, 0);
	while (got > 0 && end < (size_t)got && name[end] != '\0' && name[end] != '\n')
		end++;
	for (i = 0; i < end; i++)
		line[n++] = name[i];
	for (i = 0; i < sizeof does - 1; i++)
		line[n++] = does[i];
	for (i = 0; i < end; i++)
		line[n++] = name[i];
	for (i = 0; i < 5; i++)
		line[n++] = " ...\n"[i];
	(void)rmem_syscall_(RMEM_SYS_WRITE_, 2, (long)line, (long)n, 0);
	for (;;)
		(void)rmem_syscall_(RMEM_SYS_EXIT_GROUP_, 126, 0, 0, 0);
}

static inline void rmem_guard_(void)
{
	if (__builtin_expect(__atomic_load_n(&rmem_ready_, __ATOMIC_RELAXED) == 0, 0))
		rmem_first_();
}

/* One instruction for each combination of flags; with constant flags one of them is left. */
__attribute__((always_inline)) static inline int rmem_write_as_(rmem_desc d, uint64_t off, const void *src,
								uint64_t len, unsigned flags)
{
#define RMEM_AS_(value, flagbits, width)                                                                               \
	case value: {                                                                                                  \
		RMEM_VAPC_(RMEM_OP_WRITE, flagbits, width, src, off, d, len);                                                      \
		return (int)result_;                                                                                   \
	}
	rmem_guard_();
	switch (flags) {
		RMEM_AS_(0, 0, 1)
		RMEM_AS_(RMEM_SWAB16, 0, 2)
		RMEM_AS_(RMEM_SWAB32, 0, 4)
		RMEM_AS_(RMEM_SWAB64, 0, 8)
		RMEM_AS_(RMEM_NOTIFY, RMEM_NOTIFY, 1)
		RMEM_AS_(RMEM_NOTIFY | RMEM_SWAB16, RMEM_NOTIFY, 2)
		RMEM_AS_(RMEM_NOTIFY | RMEM_SWAB32, RMEM_NOTIFY, 4)
		RMEM_AS_(RMEM_NOTIFY | RMEM_SWAB64, RMEM_NOTIFY, 8)
	default:
		return RMEM_EINVAL;
	}
#undef RMEM_AS_
}

__attribute__((always_inline)) static inline int rmem_read_as_(rmem_desc d, uint64_t off, void *dst, uint64_t len,
							       unsigned flags)
{
#define RMEM_AS_(value, flagbits, width)                                                                               \
	case value: {                                                                                                  \
		RMEM_VAPC_(RMEM_OP_READ, flagbits, width, dst, off, d, len);                                                      \
		return (int)result_;                                                                                   \
	}
	rmem_guard_();
	switch (flags) {
		RMEM_AS_(0, 0, 1)
		RMEM_AS_(RMEM_SWAB16, 0, 2)
		RMEM_AS_(RMEM_SWAB32, 0, 4)
		RMEM_AS_(RMEM_SWAB64, 0, 8)
		RMEM_AS_(RMEM_ASYNC, RMEM_ASYNC, 1)
		RMEM_AS_(RMEM_ASYNC | RMEM_SWAB16, RMEM_ASYNC, 2)
		RMEM_AS_(RMEM_ASYNC | RMEM_SWAB32, RMEM_ASYNC, 4)
		RMEM_AS_(RMEM_ASYNC | RMEM_SWAB64, RMEM_ASYNC, 8)
	default:
		return RMEM_EINVAL;
	}
#undef RMEM_AS_
}

/* Where the flags are not constant, all eight instructions stand once per file and not at each call. */
__attribute__((unused, noinline)) static int rmem_write_any_(rmem_desc d, uint64_t off, const void *src, uint64_t len,
							     unsigned flags)
{
	return rmem_write_as_(d, off, src, len, flags);
}

__attribute__((unused, noinline)) static int rmem_read_any_(rmem_desc d, uint64_t off, void *dst, uint64_t len,
							    unsigned flags)
{
	return rmem_read_as_(d, off, dst, len, flags);
}

/* ---- Functions -------------------------------------------------------------------------------------------------- */

/* The number of this node, from 0; each process on it has the same. */
static inline unsigned rmem_node(void)
{
	rmem_guard_();
	RMEM_NONE_(RMEM_OP_NODE);
	return (unsigned)result_;
}

/* How many nodes there are. */
static inline unsigned rmem_nodes(void)
{
	rmem_guard_();
	RMEM_NONE_(RMEM_OP_NODES);
	return (unsigned)result_;
}

/*
 * Makes the len bytes at base a segment that other nodes import by name (1 to 255 bytes) and by the number of this node.
 * rights, at least one, bounds what any importer may do; RMEM_QUIET refuses notifications. base and len need no
 * alignment (an atomic's address does). The memory may be static, from malloc or from a private mmap; not a stack, and
 * not a shared mapping. It stays this program's own: reading and writing it directly goes on as before, and what arrives
 * is seen as from another thread, so read flags with an atomic load.
 * Errors: RMEM_EINVAL (name, rights, len 0, kind of memory), RMEM_EFAULT (not mapped), RMEM_EEXIST, RMEM_ENOSPC.
 */
static inline rmem_seg rmem_export(const char *name, void *base, size_t len, unsigned rights)
{
	rmem_guard_();
	RMEM_VAPCD_(RMEM_OP_EXPORT, base, len, name, __builtin_strlen(name), rights);
	return (rmem_seg)result_;
}

/*
 * Ends a segment: when it has returned, nothing touches the memory any more, every descriptor of it answers RMEM_ESTALE,
 * and the name is free. Errors: RMEM_EDESC.
 */
static inline int rmem_revoke(rmem_seg seg)
{
	rmem_guard_();
	RMEM_P_ONLY_(RMEM_OP_REVOKE, seg);
	return (int)result_;
}

/*
 * on != 0: from now on writes and atomics to the segment are refused with RMEM_EINHIBIT; reads pass. on == 0: they pass
 * again. Errors: RMEM_EDESC.
 */
static inline int rmem_inhibit(rmem_seg seg, int on)
{
	rmem_guard_();
	RMEM_VP_(RMEM_OP_INHIBIT, on, seg);
	return (int)result_;
}

/*
 * Connects to the segment `name` of a node, for the rights asked. A node may import from itself. timeout_ms is how long to
 * wait for the export: -1 without end, 0 not at all.
 * Errors: RMEM_EINVAL (node number, name, rights), RMEM_ENOENT (not there, timeout 0), RMEM_ETIMEDOUT, RMEM_EPERM (the
 * exporter does not grant these rights), RMEM_EDOWN, RMEM_ENOSPC.
 */
static inline rmem_desc rmem_import(const char *name, unsigned node, unsigned rights, int timeout_ms)
{
	rmem_guard_();
	RMEM_VAPCD_(RMEM_OP_IMPORT, timeout_ms, node, name, __builtin_strlen(name), rights);
	return (rmem_desc)result_;
}

/* Ends a descriptor. Waits for what was posted on it, and returns what a fence would. Errors: also RMEM_EDESC. */
static inline int rmem_release(rmem_desc desc)
{
	rmem_guard_();
	RMEM_P_ONLY_(RMEM_OP_RELEASE, desc);
	return (int)result_;
}

/*
 * Writes len bytes from src to the segment at off. Up to 40 bytes travel in one cell, longer writes in blocks. When it
 * returns, src may be reused; the data need not have arrived. Operations of one thread through one descriptor take
 * effect in order, so a flag that is written after the data needs no fence between. An aligned word of up to 8 bytes is
 * never seen half written. flags: 0, RMEM_NOTIFY, one RMEM_SWAB. len 0 does nothing and notifies nobody.
 * Errors at once: RMEM_EDESC, RMEM_EPERM, RMEM_EALIGN, RMEM_ERANGE, RMEM_EFAULT, RMEM_EINVAL. What the far side refuses
 * (RMEM_ESTALE, RMEM_EINHIBIT, RMEM_EDOWN) is reported by the next rmem_fence on the descriptor.
 */
__attribute__((always_inline)) static inline int rmem_write(rmem_desc desc, uint64_t off, const void *src, size_t len,
							    unsigned flags)
{
	return __builtin_constant_p(flags) ? rmem_write_as_(desc, off, src, len, flags)
					   : rmem_write_any_(desc, off, src, len, flags);
}

/*
 * Reads len bytes of the segment at off into dst. Without RMEM_ASYNC the data is there when it returns. With it the read
 * is only posted: dst must stay valid, and its contents are undefined, until rmem_fence on the descriptor has returned.
 * flags: 0, RMEM_ASYNC, one RMEM_SWAB. Errors: as for rmem_write; without RMEM_ASYNC those of the far side at once too.
 */
__attribute__((always_inline)) static inline int rmem_read(rmem_desc desc, uint64_t off, void *dst, size_t len,
							   unsigned flags)
{
	return __builtin_constant_p(flags) ? rmem_read_as_(desc, off, dst, len, flags)
					   : rmem_read_any_(desc, off, dst, len, flags);
}

/*
 * The atomics work on an 8-byte word (with 32 in the name: 4-byte) at off, which must be aligned at the owner, by offset
 * and by address. They are atomic against each other and against the owner's own atomic instructions. They return 0
 * when they were carried out, a cas that found another value included, and store in *old, if old is not NULL, what the
 * word held before. With an error *old is the last operand (desired, addend, value), so that a cas that was refused does
 * not look like one that took effect. Errors, all at once: RMEM_EDESC, RMEM_EPERM, RMEM_EALIGN, RMEM_ERANGE,
 * RMEM_ESTALE, RMEM_EINHIBIT, RMEM_EDOWN.
 */

/* If the word equals expected it becomes desired: so it did if *old == expected. */
static inline int rmem_cas(rmem_desc desc, uint64_t off, uint64_t expected, uint64_t desired, uint64_t *old)
{
	rmem_guard_();
	RMEM_OLD_D_(RMEM_OP_CAS, 8, desired, off, desc, expected);
	if (old != NULL)
		*old = desired;
	return (int)result_;
}

/* Adds addend, modulo 2^64. */
static inline int rmem_fadd(rmem_desc desc, uint64_t off, uint64_t addend, uint64_t *old)
{
	rmem_guard_();
	RMEM_OLD_(RMEM_OP_FADD, 8, addend, off, desc);
	if (old != NULL)
		*old = addend;
	return (int)result_;
}

/* Stores value. */
static inline int rmem_swap(rmem_desc desc, uint64_t off, uint64_t value, uint64_t *old)
{
	rmem_guard_();
	RMEM_OLD_(RMEM_OP_SWAP, 8, value, off, desc);
	if (old != NULL)
		*old = value;
	return (int)result_;
}

/* rmem_cas on a 4-byte word. */
static inline int rmem_cas32(rmem_desc desc, uint64_t off, uint32_t expected, uint32_t desired, uint32_t *old)
{
	rmem_guard_();
	RMEM_OLD_D_(RMEM_OP_CAS, 4, desired, off, desc, expected);
	if (old != NULL)
		*old = desired;
	return (int)result_;
}

/* rmem_fadd on a 4-byte word, modulo 2^32. */
static inline int rmem_fadd32(rmem_desc desc, uint64_t off, uint32_t addend, uint32_t *old)
{
	rmem_guard_();
	RMEM_OLD_(RMEM_OP_FADD, 4, addend, off, desc);
	if (old != NULL)
		*old = addend;
	return (int)result_;
}

/* rmem_swap on a 4-byte word. */
static inline int rmem_swap32(rmem_desc desc, uint64_t off, uint32_t value, uint32_t *old)
{
	rmem_guard_();
	RMEM_OLD_(RMEM_OP_SWAP, 4, value, off, desc);
	if (old != NULL)
		*old = value;
	return (int)result_;
}

/*
 * Waits until everything this address space posted on the descriptor, or on RMEM_EVERY, has taken effect or was refused:
 * writes are in place, split-phase reads have their data. Returns the first error since the last fence, which is thereby
 * reported, or 0. Errors: also RMEM_EDESC.
 */
static inline int rmem_fence(rmem_desc desc)
{
	rmem_guard_();
	RMEM_P_ONLY_(RMEM_OP_FENCE, desc);
	return (int)result_;
}

/*
 * Notifies the exporter with no data: its rmem_wait returns. off, within the segment, is handed to it. In order with the
 * writes before it; errors as for rmem_write. Any right will do, unless the segment is RMEM_QUIET.
 */
static inline int rmem_notify(rmem_desc desc, uint64_t off)
{
	rmem_guard_();
	RMEM_AP_(RMEM_OP_NOTIFY, off, desc);
	return (int)result_;
}

/*
 * Takes the oldest event of an own segment, and sleeps until there is one; timeout_ms as in rmem_import. No notification
 * is lost: what arrived before the call is returned by it. Notifications may be joined, so look at the memory for how
 * far things are, and take the event as a reason to look. Errors: RMEM_EDESC, RMEM_ETIMEDOUT, RMEM_ESTALE (revoked
 * meanwhile), RMEM_EDOWN (no event, and every other node is gone), RMEM_EFAULT (ev).
 */
static inline int rmem_wait(rmem_seg seg, rmem_event *ev, int timeout_ms)
{
	rmem_guard_();
	RMEM_VAP_(RMEM_OP_WAIT, ev, timeout_ms, seg);
	return (int)result_;
}

/*
 * For loops that wait for this program's memory to change: while (*flag != x) rmem_poll(). Takes in the operations of
 * others on this node's segments that have arrived, and lets other threads and nodes go on. Returns how many it took in,
 * 0 or more; under an engine that takes everything in by itself, always 0. No operation needs it to take effect.
 */
static inline int rmem_poll(void)
{
	rmem_guard_();
	RMEM_NONE_(RMEM_OP_POLL);
	return (int)result_;
}

/*
 * Maps len bytes of the segment at off into this address space, to be read, and with RMEM_WRITE or RMEM_ATOMIC written,
 * by ordinary instructions: the owner's pages themselves. len, and the address of the range at the owner, are multiples of
 * the page. The owner must run on this machine, under the same rmemrun, with no network between that is emulated. When the
 * owner revokes the segment, ends, or executes a program, and when the descriptor is released, an access raises SIGBUS.
 * Returns the address; or an error, which is negative: (intptr_t)p < 0.
 * Errors: RMEM_EDESC, RMEM_EINVAL (rights, len 0; the owner is elsewhere), RMEM_EPERM (these rights were not imported; or
 * to write without to read), RMEM_EALIGN, RMEM_ERANGE, RMEM_EDOWN, RMEM_ESTALE, RMEM_EINHIBIT, RMEM_ENOSPC.
 */
static inline void *rmem_map(rmem_desc desc, uint64_t off, size_t len, unsigned rights)
{
	rmem_guard_();
	RMEM_APCD_(RMEM_OP_MAP, off, desc, len, rights);
	return (void *)(intptr_t)result_;
}

/* Ends what rmem_map has returned, all of it. The descriptor stays. Errors: RMEM_EINVAL (not, or no longer, mapped). */
static inline int rmem_unmap(void *base)
{
	rmem_guard_();
	RMEM_V_ONLY_(RMEM_OP_UNMAP, base);
	return (int)result_;
}

/* The text of a result: an error of either sign, 0, or "unknown error". A static string. */
static inline const char *rmem_strerror(int error)
{
	switch (error > 0 ? -error : error) {
	case 0:
		return "success";
	case RMEM_EDESC:
		return "no such segment or descriptor";
	case RMEM_EPERM:
		return "right not granted";
	case RMEM_ERANGE:
		return "outside the segment";
	case RMEM_EALIGN:
		return "not aligned";
	case RMEM_ESTALE:
		return "segment revoked";
	case RMEM_EINHIBIT:
		return "segment inhibited by its owner";
	case RMEM_EFAULT:
		return "bad local address";
	case RMEM_EINVAL:
		return "invalid argument";
	case RMEM_ENOENT:
		return "no segment of that name";
	case RMEM_EEXIST:
		return "name already exported";
	case RMEM_EDOWN:
		return "node is gone";
	case RMEM_ETIMEDOUT:
		return "timed out";
	case RMEM_ENOSPC:
		return "no space for more";
	default:
		return "unknown error";
	}
}

#ifdef __cplusplus
}
#endif

#endif /* __ASSEMBLER__ */
#endif /* RMEM_H */
