//go:build ignore

// The exporter's half of a ring, for guests that wait for something: they carry out requests for their own segments by themselves. What is not right, or not
// theirs to decide, they leave to the agent.
#include "wait.h"

enum { BATCH = 8 }; // requests in one go with the lock

// The operation that an event names, by that of the cell; see docs/isa.md.
enum { EVENT_WRITE = 6, EVENT_NOTIFY = 12 };

struct event {
	u32 node, op;
	u64 offset, length, count;
};
_Static_assert(sizeof(struct event) == EVENT_SIZE, "docs/isa.md");

// atomically does an atomic on a word of the guest's own memory, and returns what was there.
INLINE u64 atomically(u32 op, void *p, u64 width, u64 expected, u64 operand)
{
	u64 old = op == CAS ? expected : operand;
	if (width == 8) {
		if (op == CAS)
			__asm__ volatile("lock cmpxchgq %2, %1" : "+a"(old), "+m"(*(volatile u64 *)p) : "r"(operand) : "memory", "cc");
		else if (op == FADD)
			__asm__ volatile("lock xaddq %0, %1" : "+r"(old), "+m"(*(volatile u64 *)p)::"memory", "cc");
		else
			__asm__ volatile("xchgq %0, %1" : "+r"(old), "+m"(*(volatile u64 *)p)::"memory");
		return old;
	}
	u32 old4 = old;
	if (op == CAS)
		__asm__ volatile("lock cmpxchgl %2, %1" : "+a"(old4), "+m"(*(volatile u32 *)p) : "r"((u32)operand) : "memory", "cc");
	else if (op == FADD)
		__asm__ volatile("lock xaddl %0, %1" : "+r"(old4), "+m"(*(volatile u32 *)p)::"memory", "cc");
	else
		__asm__ volatile("xchgl %0, %1" : "+r"(old4), "+m"(*(volatile u32 *)p)::"memory");
	return old4;
}

// word is a number of the data, which is big endian.
INLINE u64 number(u64 d, u64 width) { return width == 8 ? swap8(d) : swap4(d); }

// take carries out the request of an index. It returns 1, 1 | EVENT, or LEFT. The lock is held.
INLINE int take(const struct in *in, u64 index, const struct waiter *w)
{
	struct message m;
	struct slot *reply = &in->replies->slots[index % SLOTS];
	if (!open(&m, &in->requests->slots[index % SLOTS], in->header0, in->header1, index))
		return LEFT;
	u32 op = m.operation >> OP_SHIFT, rights = in->rights, right;
	u64 offset = m.operation & OFFSET_MASK, length, n, expected = 0, operand = 0;
	int notify = !!(m.operation & NOTIFY_BIT);
	m.li -= WORD;
	if (op != WRITE && (m.li < KEY || !unkeyed(&m, in->key)))
		return LEFT;
	switch (op) {
	case WRITE:
		n = m.li, right = RIGHT_WRITE;
		if (n <= MAX_SHORT || in->inhibited)
			return LEFT;
		break;
	case WRITE_SHORT:
		n = m.li, right = RIGHT_WRITE;
		if (n == 0 || in->inhibited)
			return LEFT;
		break;
	case READ:
		n = swap4(m.d[0]), right = RIGHT_READ;
		if (m.li != 4 || n == 0 || n > MAX_DATA || notify)
			return LEFT;
		break;
	case CAS:
	case FADD:
	case SWAP:
		n = op == CAS ? m.li / 2 : m.li, right = RIGHT_ATOMIC;
		if (n != 4 && n != 8 || op == CAS && m.li % 2 != 0 || in->inhibited || offset % n != 0 || (in->base + offset) % n != 0)
			return LEFT;
		operand = number(m.d[0], n);
		if (op == CAS) {
			expected = operand;
			operand = number(n == 8 ? m.d[1] : m.d[0] >> 32, n);
		}
		break;
	case NOTIFY:
		n = 0, right = 0;
		if (m.li != 0 || !notify)
			return LEFT;
		break;
	default:
		return LEFT;
	}
	length = in->length;
	if ((right & ~rights) != 0 || offset > length || n > length - offset)
		return LEFT;
	if (notify) {
		if (!w || w->segment != in->segment || in->events != 0 || (rights & RIGHT_QUIET) != 0)
			return LEFT;
		// Before the effect: if it faults, nothing has happened.
		volatile struct event *e = (volatile struct event *)w->event;
		e->node = in->node;
		e->op = op == NOTIFY ? EVENT_NOTIFY : op <= WRITE_SHORT ? EVENT_WRITE : op + (8 - CAS);
		e->offset = offset;
		e->length = n;
		e->count = 1;
	}

	u8 *p = (u8 *)in->base + offset;
	u64 d[DATA] = {0, 0, 0, 0, 0};
	u64 answer = index & NUMBER_MASK;
	if (op <= WRITE_SHORT) {
		deposit(p, m.d, n);
	} else if (op == READ) {
		collect(d, p, n);
		seal(reply, in->reply0, in->reply1, index, (u32)REPLY_DATA << OP_SHIFT | (in->reply_key & DATA_KEY_MASK), d,
		     WORD + (n < MIN_DATA ? MIN_DATA : n));
	} else if (op != NOTIFY) {
		u64 old = atomically(op, p, n, expected, operand);
		d[0] = n == 8 ? swap8(old) : swap4(old);
		keyed(d, in->reply_key);
		seal(reply, in->reply0, in->reply1, index, (u32)OLD << OP_SHIFT | answer, d, WORD + KEY + n);
	}
	in->replies->head = index + 1;
	return notify ? 1 | EVENT : 1;
}

// others reports whether the next request notifies, and nobody here takes that: without a waiter it stays where it is, for the agent, or for a wait that
// comes soon.
INLINE int others(const struct in *in, u64 head, const struct waiter *w)
{
	return !w && ((u32)(in->requests->slots[head % SLOTS].word[1] >> 32) & swap4(NOTIFY_BIT)) != 0;
}

// mark says in its own slot, too, that the last request of a batch was carried out. If it has a reply, that is said already.
INLINE void mark(struct replies *r, u64 index) { *(volatile u32u *)r->slots[index % SLOTS].word = index + 1; }

// serve_ring carries out requests of one ring.
static int serve_ring(const struct in *in, const struct waiter *w)
{
	struct replies *r = in->replies;
	if (LIKELY(!waiting(in, r->head)) || r->lock || others(in, r->head, w))
		return 0;
	frame->resume = frame->state;
	frame->held = &r->lock;
	frame->state = SERVING;
	int done = 0;
	if (exchange(&r->lock, 4, 0, 2)) {
		if (in->state == OUT_LIVE) { // nobody ends the circuit or takes a right away without the lock
			for (int i = 0; i < BATCH; i++) {
				u64 head = r->head;
				if (!waiting(in, head) || others(in, head, w))
					break;
				r->left = head + 1; // should it fault; else the head moves on
				int took = take(in, head, w);
				if (took == LEFT) {
					done |= LEFT;
					break;
				}
				done += took;
				if (took & EVENT) { // the wait has what it came for
					frame->resume = COMMITTED;
					break;
				}
			}
		}
		if (done & SERVED)
			mark(r, r->head - 1);
		__asm__ volatile("" ::: "memory");
		r->lock = 0;
	}
	frame->held = 0;
	frame->state = frame->resume;
	return done;
}

// serve carries out what has arrived for the guest's own segments; see attempt_serve. With a waiter it ends with the first event.
__attribute__((visibility("hidden"))) int serve(const struct board *b, const struct waiter *w)
{
	int done = 0;
	u32 count = b->ins_count;
	for (u32 i = 0; i < count && i < MAX_INS; i++) {
		const struct in *in = &b->ins[i];
		if (in->state != OUT_LIVE)
			continue;
		done += serve_ring(in, w) & ~(done & LEFT);
		if (done & EVENT)
			break;
	}
	if (done & LEFT)
		call_agent(b);
	return done;
}

// deliver stores what was read; see attempt_deliver.
__attribute__((visibility("hidden"))) int deliver(u8 *p, u64 *d, u64 n)
{
	frame->resume = frame->state;
	frame->held = 0;
	frame->state = SERVING;
	deposit(p, d, n);
	frame->state = frame->resume;
	return 0;
}
