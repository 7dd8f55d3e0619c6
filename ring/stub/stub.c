//go:build ignore

// The instructions. Each stub carries out what is common and succeeds; as long as nothing was claimed, all else goes to the trap, where everything is checked
// and reported.
#include "post.h"

enum { RAX, RCX, RDX };

enum { FLAG_NOTIFY = 1, FLAG_ASYNC = 2 };

#define HIDDEN __attribute__((visibility("hidden")))

// granted reports whether the circuit may do what needs the right.
INLINE int granted(const struct out *o, u32 right, u32 flags)
{
	return (o->rights & right) == right && !((flags & FLAG_NOTIFY) && (o->rights & RIGHT_QUIET));
}

// inside reports whether n bytes at an offset are in the segment and can be named in a cell.
INLINE int inside(const struct out *o, u64 offset, u64 n) { return offset <= o->limit && n <= o->limit - offset && offset <= OFFSET_MASK; }

INLINE u32 operation(u32 op, u32 flags, u64 offset) { return op << OP_SHIFT | (flags & FLAG_NOTIFY ? NOTIFY_BIT : 0) | (u32)offset; }

// done is the end of what has a result.
INLINE int done(i64 result)
{
	frame->state = DONE; // first: who is stopped in between must not be put back with a result
	__asm__ volatile("" ::: "memory");
	frame->r[RAX] = result;
	return FAST;
}

// post sends a request that has no reply if it succeeds.
INLINE int post(const struct board *b, const struct out *o, u32 operation, const u64 d[DATA], u64 li)
{
	u64 index;
	if (!claim(b, o, &index))
		return SLOW;
	publish(o, index, operation, d, li);
	done(0);
	announce(b, o, index);
	return FAST;
}

// processor is the number of the processor that this runs on, if it goes on to: what the vDSO's getcpu has where there is no RDPID, the limit of a segment.
INLINE u32 processor(void)
{
	enum { SEGMENT = 15 << 3 | 3, MASK = 0xfff };
	u32 limit = 0;
	__asm__ volatile("lsl %1, %0" : "+r"(limit) : "r"(SEGMENT) : "cc");
	return limit & MASK;
}

// staged copies the source of a block write to where rmemrun finds it, and traps then in a way that says so. It is BEFORE all the time: who puts the thread back to the
// instruction, or has it trap because this faults, gives the staging memory back. The words are copied by general registers, which are as fast as any while the source
// comes from the second-level cache, and need not be kept.
static __attribute__((noinline)) int staged(struct frame *f, const struct site *s)
{
	const struct board *b = s->board;
	struct staging *g = b->staging;
	u64 n = f->r[RCX], from = f->r[s->v];
	if (!g || n > STAGING)
		return SLOW;
	for (int i = 0; i < MAX_RANGES; i++)
		if (from >= b->mapped[i].start && from < b->mapped[i].end && n <= b->mapped[i].end - from)
			return SLOW;
	// Its own frame is there if somebody was killed who shared this memory and had its stack here.
	if (!exchange(&g->owner, 8, 0, (u64)f) && g->owner != (u64)f)
		return SLOW;
	const u64u *p = (const u64u *)from;
	u64 *q = (u64 *)g->bytes;
	for (; n >= 64; n -= 64, p += 8, q += 8) {
		u64 w0 = p[0], w1 = p[1], w2 = p[2], w3 = p[3], w4 = p[4], w5 = p[5], w6 = p[6], w7 = p[7];
		q[0] = w0, q[1] = w1, q[2] = w2, q[3] = w3, q[4] = w4, q[5] = w5, q[6] = w6, q[7] = w7;
	}
	for (; n >= 8; n -= 8)
		*q++ = *p++;
	for (u64 i = 0; i < n; i++)
		((u8 *)q)[i] = ((const u8 *)p)[i];
	g->processor = processor();
	f->slow = s->staged;
	return SLOW;
}

HIDDEN int stub_write(struct frame *f, const struct site *s)
{
	const struct board *b = s->board;
	u64 n = f->r[RCX], offset = f->r[s->a];
	u32 width = s->width, flags = s->flags;
	const struct out *o = live(b, f->r[s->p]);
	if (UNLIKELY(!o || n - 1 >= MAX_DATA || !granted(o, RIGHT_WRITE, flags) || (n & (width - 1)) != 0 || !inside(o, offset, n)))
		return n < STAGED_LEAST ? SLOW : staged(f, s);
	u64 d[DATA];
	gather(d, (const u8 *)f->r[s->v], n);
	reverse(d, width);
	u64 op = WRITE, li = WORD + n;
	if (n <= MAX_SHORT) {
		op = WRITE_SHORT, li += KEY;
		keyed(d, o->key);
	}
	return post(b, o, operation(op, flags, offset), d, li);
}

HIDDEN int stub_notify(struct frame *f, const struct site *s)
{
	const struct board *b = s->board;
	u64 offset = f->r[s->a];
	const struct out *o = live(b, f->r[s->p]);
	if (!o || !granted(o, 0, FLAG_NOTIFY) || !inside(o, offset, 0))
		return SLOW;
	u64 d[DATA] = {swap4(o->key)};
	return post(b, o, operation(NOTIFY, FLAG_NOTIFY, offset), d, WORD + KEY);
}

// probe faults if a byte cannot be written.
INLINE void probe(u8 *p) { __asm__ volatile("lock orb $0, %0" : "+m"(*(volatile u8 *)p)::"memory", "cc"); }

HIDDEN int stub_read(struct frame *f, const struct site *s)
{
	const struct board *b = s->board;
	u64 n = f->r[RCX], offset = f->r[s->a];
	u8 *p = (u8 *)f->r[s->v];
	u32 width = s->width;
	const struct out *o = live(b, f->r[s->p]);
	if (!o || s->flags || n - 1 >= MAX_DATA || !granted(o, RIGHT_READ, 0) || (n & (width - 1)) != 0 || !inside(o, offset, n))
		return SLOW;
	if (((u64)p ^ (u64)(p + n - 1)) >= PAGE) { // in one page, all faults or nothing does
		probe(p);
		probe(p + n - 1);
	}
	u64 d[DATA] = {swap4(o->key) | (u64)swap4(n) << 32};
	i64 status;
	if (!exchanged(b, o, operation(READ, 0, offset), d, WORD + KEY + 4, REPLY_DATA, WORD + (n < MIN_DATA ? MIN_DATA : n), &status))
		return SLOW;
	if (status == 0) {
		reverse(d, width);
		if (attempt_deliver(p, d, n) == RETREATED)
			status = EFAULT;
	}
	return done(status);
}

// atomic sends an atomic, of which the operands, after the key, are in d.
static __attribute__((noinline)) int atomic(struct frame *f, const struct site *s, u32 op, u64 first, u64 second)
{
	const struct board *b = s->board;
	u64 offset = f->r[s->a], width = s->width;
	u32 flags = s->flags;
	const struct out *o = live(b, f->r[s->p]);
	if (!o || !granted(o, RIGHT_ATOMIC, flags) || (offset & (width - 1)) != 0 || !inside(o, offset, width))
		return SLOW;
	u64 d[DATA] = {0, 0, 0, 0, 0}, operands = op == CAS ? 2 : 1;
	if (width == 8) {
		d[0] = swap8(first);
		d[1] = op == CAS ? swap8(second) : 0;
	} else {
		d[0] = swap4(first) | (op == CAS ? (u64)swap4(second) << 32 : 0);
	}
	keyed(d, o->key);
	i64 status;
	if (!exchanged(b, o, operation(op, flags, offset), d, WORD + KEY + operands * width, OLD, WORD + KEY + width, &status))
		return SLOW;
	if (status == 0)
		f->r[s->v] = width == 8 ? swap8(d[0]) : swap4(d[0]);
	return done(status);
}

HIDDEN int stub_cas(struct frame *f, const struct site *s) { return atomic(f, s, CAS, f->r[RDX], f->r[s->v]); }

HIDDEN int stub_fadd(struct frame *f, const struct site *s) { return atomic(f, s, FADD, f->r[s->v], 0); }

HIDDEN int stub_swap(struct frame *f, const struct site *s) { return atomic(f, s, SWAP, f->r[s->v], 0); }

// What was begun by a trap, and errors, are known to rmemrun: either is in out.errors, which it sets before the head or a slot says that the request was dealt with.
HIDDEN int stub_fence(struct frame *f, const struct site *s)
{
	const struct board *b = s->board;
	const struct out *o = live(b, f->r[s->p]);
	if (!o)
		return SLOW;
	u64 tail = o->requests->tail;
	for (u32 turns = 0; !answered(b, o, tail - 1, turns);) {
		if (f->leave || o->state != OUT_LIVE)
			return SLOW;
		take_in(b, 0);
		if (turn(b, &turns))
			return SLOW;
	}
	return o->errors ? SLOW : done(0);
}

HIDDEN int stub_poll(struct frame *f, const struct site *s)
{
	enum { LOOKS = 4 };
	const struct board *b = s->board;
	if (UNLIKELY(b->news))
		return SLOW;
	for (u32 i = 0; i < b->ins_count && i < MAX_INS; i++)
		if (b->ins[i].state == OUT_LIVE)
			b->ins[i].replies->polled++;
	const struct waiter nobody = {NO_SEGMENT, 0}; // notifications go to the agent
	u32 turns = 0;
	do {
		int r = take_in(b, &nobody);
		if (r & SERVED)
			return done(r & SERVED);
		turn(b, &turns);
	} while (turns < LOOKS && turns <= b->spin && !f->leave);
	return done(0);
}

// withdraw tells the initiators that this thread looks at the rings no more. What they have published in the belief that it would, the agent has to look at.
INLINE void withdraw(const struct board *b)
{
	for (u32 i = 0; i < b->ins_count && i < MAX_INS; i++)
		if (b->ins[i].state == OUT_LIVE)
			b->ins[i].replies->polling = 0;
	fence();
	for (u32 i = 0; i < b->ins_count && i < MAX_INS; i++)
		if (b->ins[i].state == OUT_LIVE && waiting(&b->ins[i], b->ins[i].replies->head)) {
			call_agent(b);
			return;
		}
}

// possible reports whether events of the segment come by rings and none waits in the node; and tells the initiators that rings are looked at, which
// another thread, by withdrawing, may have denied.
INLINE int possible(const struct board *b, u32 segment, int polling)
{
	int found = 0;
	for (u32 i = 0; i < b->ins_count && i < MAX_INS; i++) {
		const struct in *in = &b->ins[i];
		if (in->state != OUT_LIVE)
			continue;
		if (polling && !in->replies->polling)
			in->replies->polling = 1;
		if (in->segment != segment)
			continue;
		if (in->events != 0)
			return 0;
		found = 1;
	}
	return found;
}

// A shorter timeout, in milliseconds, could be over while the stub waits, which looks at no clock.
enum { SHORT_TIMEOUT = 100 };

HIDDEN int stub_wait(struct frame *f, const struct site *s)
{
	const struct board *b = s->board;
	int timeout = f->r[s->a];
	struct waiter w = {f->r[s->p], (u8 *)f->r[s->v]};
	if (b->news || ((u64)w.event ^ (u64)(w.event + EVENT_SIZE - 1)) >= PAGE || !possible(b, w.segment, 0))
		return SLOW;
	probe(w.event);
	int r = 0;
	if (timeout >= 0 && timeout < SHORT_TIMEOUT) {
		r = take_in(b, &w);
	} else {
		u32 turns = 0;
		f->state = POLLING;
		while (!f->leave && possible(b, w.segment, 1) && !((r = take_in(b, &w)) & EVENT) && !dwell(b, &turns))
			;
		withdraw(b);
	}
	if (r & EVENT)
		return done(0);
	f->state = BEFORE;
	return SLOW;
}

// recover decides for a thread that has faulted what becomes of its instruction, which is not BEFORE.
HIDDEN int recover(struct frame *f, const struct site *s)
{
	switch (f->state) {
	case POLLING:
		withdraw(s->board);
		f->state = BEFORE;
		return SLOW;
	case DONE:
		return FAST;
	}
	return done(EDOWN); // it is claimed and cannot be undone: the ring is broken
}
