// The initiator's half of a ring: requests are claimed, published, and announced to an agent that sleeps.
#pragma once
#include "wait.h"

enum {
	ESTALE = -5,
	EDOWN = -11,
	EFAULT = -7,
};

// live is the circuit of a descriptor, 0 if it has no ring.
INLINE const struct out *live(const struct board *b, u64 descriptor)
{
	u32 handle = descriptor, place = handle & 0xffff;
	if (UNLIKELY(place >= MAX_OUTS))
		return 0;
	const struct out *o = &b->outs[place];
	if (UNLIKELY(o->handle != handle || o->state != OUT_LIVE))
		return 0;
	return o;
}

// room waits until a request can be claimed. Cells for this guest are taken in meanwhile, for who has to make room may wait for that. It returns 0 if it
// is better to trap.
COLD int room(const struct board *b, const struct out *o)
{
	struct requests *q = o->requests;
	u32 turns = 0;
	for (;;) {
		u64 head = o->replies->head, tail = q->tail;
		q->seen = head;
		if (tail - head < SLOTS && !(b->threaded && q->busy[tail % SLOTS]))
			return 1;
		if (frame->leave || o->state != OUT_LIVE)
			return 0;
		take_in(b, 0);
		if (turn(b, &turns))
			return 0;
	}
}

// claim makes a request's place in the ring its own; from then on the stub is COMMITTED. It returns 0 if it is better to trap.
INLINE int claim(const struct board *b, const struct out *o, u64 *index)
{
	struct requests *q = o->requests;
	for (;;) {
		u64 tail = q->tail;
		int full = tail - q->seen >= SLOTS;
		*index = tail;
		if (LIKELY(!b->threaded)) {
			if (LIKELY(!full)) {
				frame->state = COMMITTED;
				q->tail = tail + 1;
				return 1;
			}
		} else if (!full && !q->busy[tail % SLOTS]) {
			frame->state = COMMITTED;
			if (exchange(&q->tail, 8, tail, tail + 1))
				return 1;
			frame->state = BEFORE;
			continue;
		}
		if (!room(b, o))
			return 0;
	}
}

// ring wakes the agent, if it sleeps, for the request of an index.
COLD void ring(const struct board *b, const struct out *o, u64 index)
{
	u32 turns = 0;
	fence();
	while (!o->attended && !o->replies->polling && (i64)(o->replies->head - index) <= 0) {
		if (wake_agent(b))
			return;
		if (turn(b, &turns)) {
			frame->index = o->index;
			help();
			return;
		}
	}
}

// announce tells of the request of an index, which was published.
INLINE void announce(const struct board *b, const struct out *o, u64 index)
{
	if (UNLIKELY(!o->attended || b->fenced))
		ring(b, o, index);
}

// publish makes the request of an index from an operation word and data.
INLINE void publish(const struct out *o, u64 index, u32 operation, const u64 d[DATA], u64 li)
{
	seal(&o->requests->slots[index % SLOTS], o->header0, o->header1, index, operation, d, li);
}

enum { WHILE = 16 }; // turns between looks at the head

// answered reports whether the request of an index was dealt with: its slot says so, if it has a reply, or nobody has posted behind it. Each of a ring's slots
// is on a line of its own, which comes faster than the one line that the head is in, and to look at that one delays who moves it: it is left for
// the threads of one guest, who post behind each other's backs, and for once in a while.
INLINE int answered(const struct board *b, const struct out *o, u64 index, u32 turns)
{
	if ((u32)o->replies->slots[index % SLOTS].word[0] == (u32)(index + 1))
		return 1;
	return (b->threaded || turns % WHILE == WHILE - 1) && (i64)(o->replies->head - index) > 0;
}

// awaited waits until a request was answered. The state is AWAITING.
COLD void awaited(const struct board *b, const struct out *o, u64 index)
{
	u32 turns = 0;
	while (!answered(b, o, index, turns)) {
		take_in(b, 0);
		if (turn(b, &turns)) {
			help();
			turns = WHILE - 1; // to look at the head: if that was moved, there may never be a reply
		}
	}
}

// exchanged sends a request that has a reply and waits for that. It returns 0 if it is better to trap; else 1, and the status, which is negative if the
// request was refused. The reply is the op, with li octets.
static __attribute__((noinline)) int exchanged(const struct board *b, const struct out *o, u32 operation, u64 d[DATA], u64 li, int op, u64 reply_li, i64 *status)
{
	u64 index;
	if (!claim(b, o, &index))
		return 0;
	volatile u8 *busy = &o->requests->busy[index % SLOTS];
	u32 threaded = b->threaded;
	if (threaded)
		*busy = 1;
	frame->index = o->index;
	publish(o, index, operation, d, li);
	frame->state = AWAITING;
	announce(b, o, index);
	if (!answered(b, o, index, 0))
		awaited(b, o, index);

	struct message m;
	*status = EDOWN; // what is no reply comes from no exporter
	if (open(&m, &o->replies->slots[index % SLOTS], o->reply0, o->reply1, index)) {
		u32 number = index & NUMBER_MASK;
		if (m.operation >> OP_SHIFT == REPLY_DATA) {
			if (op == REPLY_DATA && (m.operation & DATA_KEY_MASK) == (o->reply_key & DATA_KEY_MASK) && m.li == reply_li)
				*status = 0;
		} else if (m.operation == ((u32)OLD << OP_SHIFT | number)) {
			if (op == OLD && m.li == reply_li && unkeyed(&m, o->reply_key))
				*status = 0;
		} else if ((m.operation & ~(0xffu << STATUS_SHIFT)) == ((u32)ACK << OP_SHIFT | number)) {
			u32 refused = m.operation >> STATUS_SHIFT & 0xff;
			if (m.li == WORD + KEY + CREDIT && unkeyed(&m, o->reply_key) && refused != 0) {
				*status = -(i64)refused;
				if (*status == ESTALE || *status == EDOWN)
					help(); // who is told so has no mapping of the segment any more: rmemrun takes it away first
			}
		}
	}
	if (*status == 0)
		UNROLL for (int i = 0; i < DATA; i++)
			d[i] = m.d[i];
	if (threaded)
		*busy = 0;
	return 1;
}
