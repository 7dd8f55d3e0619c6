/*
 * The guest of rmemrun bench. Node 0 measures; node 1 is the target; the others stand by, except in alltoall. The memory
 * that is written to is the target's own, from malloc.
 *
 *     put:BYTES            write, fence: the data is there and acknowledged
 *     write:BYTES          write, to the next instruction
 *     post:BYTES           write, without a fence until all are written; the message has a new word each time
 *     get:BYTES            read
 *     cas:4|8              compare-and-swap that succeeds
 *     fadd:4|8             fetch-and-add
 *     pingpong-poll:BYTES  round trip: both write and look for the answer in their own memory with rmem_poll
 *     pingpong-wait:BYTES  round trip: both write with notification and wait for one
 *     put-asleep:BYTES     put, each by itself, while the target's program sleeps for 450 ms
 *     put-apart:BYTES      put, each by itself, when an agent that may not poll has gone to sleep
 *     map-put:BYTES map-get:BYTES map-cas:8 map-fadd:8 map-put-asleep:BYTES   through memory mapped by rmem_map
 *     alltoall:BYTES       every node puts to every other; one operation is one put of any of them
 */
#include "batch.h"
#include <rmem.h>

enum { ROUNDS = 5, TIMES = 3 }; /* of alltoall: of each batch, and batches */

static unsigned me, nodes;
static struct options o;
static _Alignas(64) char message[MOST];
static char *area;            /* exported: what others read and write */
static rmem_seg area_seg, sync_seg;
static rmem_desc *areas, *syncs; /* of each node */

static int check(const char *what, int result)
{
	if (result < 0) {
		errno = 0;
		die("node %u: %s: %s", me, what, rmem_strerror(result));
	}
	return result;
}

/* All nodes meet: each tells node 0, node 0 tells each. */
static void meet(void)
{
	rmem_event e;
	unsigned n;

	if (me != 0) {
		check("notify node 0", rmem_notify(syncs[0], 0));
		check("wait for node 0", rmem_wait(sync_seg, &e, -1));
		return;
	}
	for (n = 1; n < nodes; n++)
		check("wait for the others", rmem_wait(sync_seg, &e, -1));
	for (n = 1; n < nodes; n++)
		check("notify the others", rmem_notify(syncs[n], 0));
}

static void put(unsigned to, size_t bytes)
{
	check("write", rmem_write(areas[to], 0, message, bytes, 0));
	check("fence", rmem_fence(areas[to]));
}

static uint64_t *last_word(char *base, size_t bytes) { return (uint64_t *)(base + bytes) - 1; }

/* Writes a round's number to the other, in each place where the other looks. */
static void serve(unsigned to, size_t bytes, uint64_t round, unsigned flags)
{
	*last_word(message, bytes) = round;
	check("write", flags ? rmem_write(areas[to], 0, message, bytes, RMEM_NOTIFY)
			     : rmem_write(areas[to], 0, message, bytes, 0));
}

#ifdef RMEM_OP_POLL
static uint64_t poll_for(size_t bytes, uint64_t last)
{
	uint64_t seen;

	while ((seen = __atomic_load_n(last_word(area, bytes), __ATOMIC_ACQUIRE)) == last)
		rmem_poll();
	return seen;
}
#endif

static uint64_t wait_for(size_t bytes)
{
	rmem_event e;

	check("wait", rmem_wait(area_seg, &e, -1));
	return __atomic_load_n(last_word(area, bytes), __ATOMIC_ACQUIRE);
}

/* Node 0 counts, node 1 gives back what it got, until that is -1. */
static void pingpong(const struct item *item, int polling)
{
	uint64_t round = 0, got = 0;
	size_t bytes = item->bytes;

	if (bytes < 8 || bytes % 8 != 0) {
		if (me == 0)
			none(item, "a multiple of 8 bytes");
		return;
	}
#ifndef RMEM_OP_POLL
	if (polling) {
		if (me == 0)
			none(item, "rmem.h has no rmem_poll");
		return;
	}
#define poll_for(bytes, last) ((void)(last), wait_for(bytes))
#endif
	if (me == 1) {
		do {
			got = polling ? poll_for(bytes, got) : wait_for(bytes);
			serve(0, bytes, got, polling ? 0 : RMEM_NOTIFY);
		} while (got != UINT64_MAX);
		check("fence", rmem_fence(areas[0]));
		return;
	}
	if (polling)
		MEASURE(item, o.ms, (round++, serve(1, bytes, round, 0), poll_for(bytes, round - 1)));
	else
		MEASURE(item, o.ms, (round++, serve(1, bytes, round, RMEM_NOTIFY), wait_for(bytes)));
	serve(1, bytes, UINT64_MAX, polling ? 0 : RMEM_NOTIFY);
	if (polling)
		poll_for(bytes, round);
	else
		wait_for(bytes);
	check("fence", rmem_fence(areas[1]));
}

/* What is in the mapping when this returns is there for everybody. */
static inline void map_put(char *map, size_t bytes)
{
	memcpy(map, message, bytes);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* The memory of node 1, mapped. */
static void mapped(const struct item *item)
{
#ifdef RMEM_OP_MAP
	static char *map;

	if (map == NULL)
		map = rmem_map(areas[1], 0, MOST, RMEM_READ | RMEM_WRITE);
	if ((intptr_t)map < 0) {
		char reason[128];
		snprintf(reason, sizeof reason, "rmem_map: %s", rmem_strerror((int)(intptr_t)map));
		none(item, reason);
		return;
	}
	if (is(item, "map-cas"))
		MEASURE(item, o.ms, {
			uint64_t old = *(volatile uint64_t *)map;
			__atomic_compare_exchange_n((uint64_t *)map, &old, old + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		});
	else if (is(item, "map-fadd"))
		MEASURE(item, o.ms, __atomic_fetch_add((uint64_t *)map, 1, __ATOMIC_SEQ_CST));
	else if (is(item, "map-get"))
		MEASURE(item, o.ms, {
			memcpy(message, map, item->bytes);
			__asm__ __volatile__("" : : "r"(message) : "memory");
		});
	else if (is(item, "map-put"))
		MEASURE(item, o.ms, map_put(map, item->bytes));
	else if (is(item, "map-put-asleep"))
		MEASURE_ASLEEP(item, map_put(map, item->bytes));
	else
		none(item, "no such item");
#else
	none(item, "rmem.h has no rmem_map");
#endif
}

static void measure(const struct item *item)
{
	size_t bytes = item->bytes;
	uint64_t word = 0, old, number = 0;
	uint32_t old32;

	if (is(item, "put")) {
		MEASURE(item, o.ms, put(1, bytes));
	} else if (is(item, "put-asleep")) {
		put(1, bytes);
		MEASURE_ASLEEP(item, put(1, bytes));
	} else if (is(item, "put-apart")) {
		put(1, bytes);
		MEASURE_APART(item, put(1, bytes));
	} else if (is(item, "write")) {
		MEASURE(item, o.ms, check("write", rmem_write(areas[1], 0, message, bytes, 0)));
	} else if (is(item, "post")) {
		MEASURE(item, o.ms, {
			*(volatile uint64_t *)message = number++;
			check("write", rmem_write(areas[1], 0, message, bytes, 0));
		});
		check("fence", rmem_fence(areas[1]));
	} else if (is(item, "get")) {
		MEASURE(item, o.ms, check("read", rmem_read(areas[1], 0, message, bytes, 0)));
	} else if (is(item, "cas") && bytes == 8) {
		check("read", rmem_read(areas[1], 0, &word, sizeof word, 0));
		MEASURE(item, o.ms, {
			check("cas", rmem_cas(areas[1], 0, word, word + 1, &old));
			if (old != word++)
				die("cas found %llu", (unsigned long long)old);
		});
	} else if (is(item, "cas") && bytes == 4) {
		uint32_t word32 = 0;
		check("read", rmem_read(areas[1], 0, &word32, sizeof word32, 0));
		MEASURE(item, o.ms, check("cas", rmem_cas32(areas[1], 0, word32, word32 + 1, &old32)); word32++);
	} else if (is(item, "fadd") && bytes == 8) {
		MEASURE(item, o.ms, check("fadd", rmem_fadd(areas[1], 0, 1, &old)));
	} else if (is(item, "fadd") && bytes == 4) {
		MEASURE(item, o.ms, check("fadd", rmem_fadd32(areas[1], 0, 1, &old32)));
	} else if (strncmp(item->name, "map-", 4) == 0) {
		mapped(item);
	} else {
		none(item, "no such item");
	}
}

static void alltoall(const struct item *item)
{
	unsigned time, round, n;

	for (time = 0; time < TIMES; time++) {
		uint64_t start;
		meet();
		start = clock_ns();
		for (round = 0; round < ROUNDS; round++)
			for (n = 1; n < nodes; n++)
				put((me + n) % nodes, item->bytes);
		meet();
		if (me == 0)
			printf("batch %s %zu %llu %llu\n", item->name, item->bytes,
			       (unsigned long long)nodes * (nodes - 1) * ROUNDS, (unsigned long long)(clock_ns() - start));
	}
}

/* Says whether an item ends with the message in the target's memory. */
static int written(const char *name)
{
	if (strncmp(name, "map-", 4) == 0)
		name += 4;
	return strcmp(name, "put") == 0 || strcmp(name, "put-asleep") == 0 || strcmp(name, "put-apart") == 0 || strcmp(name, "post") == 0;
}

int main(int argc, char **argv)
{
	static uint64_t meeting;
	unsigned n;

	options(&o, argc, argv, 0);
	me = rmem_node();
	nodes = rmem_nodes();
	if (nodes < 2)
		die("the guest needs two nodes");
	if (me < 2)
		pin(o.cpu[me]);
	area = aligned_alloc(4096, MOST); /* whole pages, to be mapped */
	areas = calloc(nodes, sizeof *areas);
	syncs = calloc(nodes, sizeof *syncs);
	if (area == NULL || areas == NULL || syncs == NULL)
		die("no memory");
	memset(area, 0, MOST);
	memset(message, 1, MOST);
	area_seg = check("export", rmem_export("area", area, MOST, RMEM_READ | RMEM_WRITE | RMEM_ATOMIC));
	sync_seg = check("export", rmem_export("sync", &meeting, sizeof meeting, RMEM_WRITE));
	for (n = 0; n < nodes; n++) {
		syncs[n] = check("import", rmem_import("sync", n, RMEM_WRITE, -1));
		areas[n] = check("import", rmem_import("area", n, RMEM_READ | RMEM_WRITE | RMEM_ATOMIC, -1));
	}
	for (struct item *i = o.item; i < o.item + o.items; i++) {
		memset(area, 0, i->bytes < 64 ? 64 : i->bytes);
		memset(message, 1, i->bytes);
		meet();
		if (is(i, "alltoall"))
			alltoall(i);
		else if (me < 2 && strncmp(i->name, "pingpong-", 9) == 0)
			pingpong(i, is(i, "pingpong-poll"));
		else if (me == 0)
			measure(i);
		else if (me == 1 && strstr(i->name, "-asleep") != NULL)
			sleep_ms(ASLEEP_MS);
		meet();
		if (me == 1 && written(i->name) && i->bytes > 8 && memcmp(area + 8, message + 8, i->bytes - 8) != 0)
			die("node 1: %s: not what was written", i->name);
	}
	return 0;
}
