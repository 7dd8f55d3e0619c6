// How stubs wait, and what they do meanwhile.
#pragma once
#include "cell.h"

enum { SYS_SCHED_YIELD = 24, SYS_FUTEX = 202, FUTEX_WAKE = 1 };

// What serve is to look for on behalf of a wait.
struct waiter {
	u32 segment;
	u8 *event;
};

enum { EVENT_SIZE = 32 };

#define NO_SEGMENT 0xffffffff

// What serve returns, or RETREATED.
enum {
	SERVED = 0xffff,   // how many operations were taken in
	EVENT = 1 << 16,   // the event of the waiter is stored
	LEFT = 1 << 17,    // a request was left to the agent
};

int attempt_serve(const struct board *, const struct waiter *) __attribute__((visibility("hidden")));
int attempt_deliver(u8 *, u64 *, u64) __attribute__((visibility("hidden")));
void help(void) __attribute__((visibility("hidden")));

INLINE i64 syscall3(i64 number, u64 a, u64 b, u64 c)
{
	i64 r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return r;
}

INLINE void pause(void) { __asm__ volatile("pause" ::: "memory"); }

// fence: what was stored before is seen by others before what is loaded behind is read.
INLINE void fence(void) { __asm__ volatile("lock orl $0, (%%rsp)" ::: "memory"); }

INLINE int exchange(volatile void *p, int size, u64 from, u64 to)
{
	u8 equal;
	if (size == 8)
		__asm__ volatile("lock cmpxchgq %3, %1" : "=@ccz"(equal), "+m"(*(volatile u64 *)p), "+a"(from) : "r"(to) : "memory");
	else
		__asm__ volatile("lock cmpxchgl %3, %1" : "=@ccz"(equal), "+m"(*(volatile u32 *)p), "+a"(from) : "r"((u32)to) : "memory");
	return equal;
}

// turn ends a turn of a loop that waits, and reports whether the patience has come to its end.
INLINE int turn(const struct board *b, u32 *turns)
{
	u32 n = ++*turns;
	if (n > b->spin)
		syscall3(SYS_SCHED_YIELD, 0, 0, 0);
	else
		pause();
	return n >= b->patience;
}

// dwell is turn in a wait.
INLINE int dwell(const struct board *b, u32 *turns)
{
	u32 n = ++*turns;
	if (n > b->dwell)
		syscall3(SYS_SCHED_YIELD, 0, 0, 0);
	else
		pause();
	return n >= b->dwell + (b->patience - b->spin);
}

// wake_agent wakes the agent, and reports whether it will look at all rings now; if not, it is about to sleep and has to be woken again. To be called
// behind a fence.
INLINE int wake_agent(const struct board *b)
{
	return !(*b->bell & AGENT_SLEEPS) || syscall3(SYS_FUTEX, (u64)b->bell, FUTEX_WAKE, 1) > 0;
}

// call_agent has the agent look at all rings.
COLD void call_agent(const struct board *b)
{
	fence();
	for (u32 turns = 0; !wake_agent(b);)
		turn(b, &turns);
}

// waiting reports whether the ring has a request that was not left to the agent.
INLINE int waiting(const struct in *in, u64 head)
{
	return (u32)in->requests->slots[head % SLOTS].word[0] == (u32)(head + 1) && in->replies->left != head + 1;
}

// take_in carries out what has arrived for the guest's own segments, and returns what serve does. Where that faults the agent has to do it.
INLINE int take_in(const struct board *b, const struct waiter *w)
{
	if (LIKELY(b->ins_count == 0))
		return 0;
	int r = attempt_serve(b, w);
	if (UNLIKELY(r == RETREATED)) {
		call_agent(b);
		return LEFT;
	}
	return r;
}

