/*
 * Floors that are memory: what two processes on two CPUs need to tell each other something through memory that both have
 * mapped, and what a store and a copy cost that nobody looks at. No checks, no protection, no cells.
 *
 *     pingpong:8     the round trip of one word: two lines, each written by one side and polled by the other
 *     pingpong:BYTES the round trip of that much data and a flag in another line; the receiver reads the data
 *     store:BYTES    a message, of which one word is new each time, is copied into the next slot of a ring of 64 KiB, as
 *                    the compiler compiles memcpy; a slot is whole cache lines. Here the processor has to put the new word and
 *                    the old rest together before wide registers can load them.
 *     store-same:BYTES  the same with a message that never changes
 *     copy:BYTES     memcpy from one buffer of the program into another
 *     cas:8          a locked compare-and-swap of a word that nobody else touches
 *     fadd:8         a locked add, likewise
 */
#include "batch.h"
#include <sys/wait.h>

enum { LINE = 64, RING = 64 << 10 };

struct side {
	_Alignas(LINE) volatile uint64_t flag;
	_Alignas(LINE) char data[4096];
};

static _Alignas(LINE) char source[MOST], target[MOST];

static inline void relax(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#endif
}

static inline void send_to(struct side *to, const char *data, size_t bytes, uint64_t flag)
{
	if (bytes > 8)
		memcpy(to->data, data, bytes);
	__atomic_store_n(&to->flag, flag, __ATOMIC_RELEASE);
}

/* Waits for a flag other than the last; the data is then in data. */
static inline uint64_t receive_from(struct side *from, char *data, size_t bytes, uint64_t last)
{
	uint64_t seen;

	while ((seen = __atomic_load_n(&from->flag, __ATOMIC_ACQUIRE)) == last)
		relax();
	if (bytes > 8)
		memcpy(data, from->data, bytes);
	__asm__ __volatile__("" : : "r"(data) : "memory");
	return seen;
}

static void pingpong(const struct item *item, const struct options *o)
{
	struct side *side = shared(2 * sizeof *side);
	uint64_t round = 0, last = 0;
	char data[sizeof side->data];
	pid_t pid;

	if (item->bytes < 8 || item->bytes > sizeof data) {
		none(item, "8 to 4096 bytes");
		return;
	}
	memset(data, 1, sizeof data);
	pid = child(o->cpu[1]);
	if (pid == 0) {
		while ((last = receive_from(&side[1], data, item->bytes, last)) != UINT64_MAX)
			send_to(&side[0], data, item->bytes, last);
		_exit(0);
	}
	MEASURE(item, o->ms, (round++, send_to(&side[1], data, item->bytes, round),
			      receive_from(&side[0], data, item->bytes, round - 1)));
	send_to(&side[1], data, item->bytes, UINT64_MAX);
	waitpid(pid, NULL, 0);
	munmap(side, 2 * sizeof *side);
}

/* With the size known the compiler makes moves of memcpy. */
static inline __attribute__((always_inline)) void stores(const struct item *item, unsigned ms, size_t bytes, int fresh)
{
	size_t slot = (bytes + LINE - 1) / LINE * LINE, at = 0;
	uint64_t number = 0;

	MEASURE(item, ms, {
		if (fresh)
			*(volatile uint64_t *)source = number++;
		memcpy(target + at, source, bytes);
		__asm__ __volatile__("" : : "r"(target), "r"(source) : "memory");
		at = at + 2 * slot <= RING ? at + slot : 0;
	});
}

int main(int argc, char **argv)
{
	static _Alignas(LINE) uint64_t word;
	struct options o;

	options(&o, argc, argv, 0);
	pin(o.cpu[0]);
	memset(source, 1, sizeof source);
	memset(target, 2, sizeof target);
	for (struct item *i = o.item; i < o.item + o.items; i++) {
		if (is(i, "pingpong"))
			pingpong(i, &o);
		else if (is(i, "store") && i->bytes == 40)
			stores(i, o.ms, 40, 1);
		else if (is(i, "store-same") && i->bytes == 40)
			stores(i, o.ms, 40, 0);
		else if (is(i, "store") && i->bytes >= 8 && i->bytes <= RING)
			stores(i, o.ms, i->bytes, 1);
		else if (is(i, "copy"))
			MEASURE(i, o.ms, {
				memcpy(target, source, i->bytes);
				__asm__ __volatile__("" : : "r"(target), "r"(source) : "memory");
			});
		else if (is(i, "cas"))
			MEASURE(i, o.ms, {
				uint64_t old = word;
				__atomic_compare_exchange_n(&word, &old, old + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
			});
		else if (is(i, "fadd"))
			MEASURE(i, o.ms, __atomic_fetch_add(&word, 1, __ATOMIC_SEQ_CST));
		else
			none(i, "no such item");
	}
	return 0;
}
