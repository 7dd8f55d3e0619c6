/*
 * A peer: OpenSHMEM, between two processing elements.
 *
 *     VARIANT   heap: memory from shmem_malloc; static: a static array
 *
 *     put:BYTES   shmem_putmem, shmem_quiet        put-asleep:BYTES   the same, each by itself, while the target sleeps
 *     get:BYTES   shmem_getmem
 *     cas:8       shmem_ulong_atomic_compare_swap  fadd:8             shmem_ulong_atomic_fetch_add
 *     pingpong:BYTES   round trip: shmem_putmem, shmem_fence, a flag by shmem_long_p; shmem_long_wait_until
 *
 * The target waits in shmem_barrier_all, where it polls for whoever needs that.
 */
#include "batch.h"
#include <shmem.h>

static struct memory {
	_Alignas(64) char area[MOST];
	_Alignas(64) long flag;
	_Alignas(64) unsigned long word;
} fixed;

static char message[MOST];

static void put(struct memory *m, size_t bytes)
{
	shmem_putmem(m->area, message, bytes, 1);
	shmem_quiet();
}

static void tell(struct memory *m, size_t bytes, long round, int to)
{
	shmem_putmem(m->area, message, bytes, to);
	shmem_fence();
	shmem_long_p(&m->flag, round, to);
}

static void pingpong(const struct item *item, struct memory *m, unsigned ms, int me)
{
	long round = 0;

	if (me == 1) {
		do {
			shmem_long_wait_until(&m->flag, SHMEM_CMP_NE, round);
			round = *(volatile long *)&m->flag;
			tell(m, item->bytes, round, 0);
		} while (round != -1);
		return;
	}
	MEASURE(item, ms, {
		tell(m, item->bytes, ++round, 1);
		shmem_long_wait_until(&m->flag, SHMEM_CMP_EQ, round);
	});
	tell(m, item->bytes, -1, 1);
	shmem_long_wait_until(&m->flag, SHMEM_CMP_EQ, -1);
}

static void measure(const struct item *item, struct memory *m, unsigned ms)
{
	if (is(item, "put")) {
		MEASURE(item, ms, put(m, item->bytes));
	} else if (is(item, "put-asleep")) {
		put(m, item->bytes); /* what is set up at the first time is set up */
		shmem_barrier_all();
		MEASURE_ASLEEP(item, put(m, item->bytes));
	} else if (is(item, "get")) {
		MEASURE(item, ms, shmem_getmem(message, m->area, item->bytes, 1));
	} else if (is(item, "cas") && item->bytes == 8) {
		unsigned long word = shmem_ulong_g(&m->word, 1), old;
		MEASURE(item, ms, {
			old = shmem_ulong_atomic_compare_swap(&m->word, word, word + 1, 1);
			if (old != word++)
				die("shmem_ulong_atomic_compare_swap found %lu", old);
		});
	} else if (is(item, "fadd") && item->bytes == 8) {
		MEASURE(item, ms, shmem_ulong_atomic_fetch_add(&m->word, 1, 1));
	} else {
		none(item, "no such item");
	}
}

static void version(void)
{
	char name[SHMEM_MAX_NAME_LEN];
	int major, minor;

	shmem_info_get_name(name);
	shmem_info_get_version(&major, &minor);
	printf("version %s, OpenSHMEM %d.%d\n", name, major, minor);
}

int main(int argc, char **argv)
{
	struct memory *m = &fixed;
	struct options o;
	int me;

	shmem_init();
	options(&o, argc, argv, 1);
	me = shmem_my_pe();
	if (shmem_n_pes() != 2)
		die("%d processing elements, not 2", shmem_n_pes());
	pin(o.cpu[me]);
	if (strcmp(o.variant, "heap") == 0)
		m = shmem_align(64, sizeof *m);
	else if (strcmp(o.variant, "static") != 0)
		die("no memory of kind %s", o.variant);
	if (m == NULL)
		die("no symmetric memory");
	memset(m, 0, sizeof *m);
	if (me == 0)
		version();
	for (struct item *i = o.item; i < o.item + o.items; i++) {
		int asleep = is(i, "put-asleep"), puts = asleep || is(i, "put");
		memset(m->area, 0, i->bytes);
		memset(message, 1, i->bytes);
		m->flag = 0;
		shmem_barrier_all();
		if (is(i, "pingpong")) {
			pingpong(i, m, o.ms, me);
		} else if (me == 0) {
			measure(i, m, o.ms);
		} else if (asleep) {
			shmem_barrier_all();
			sleep_ms(ASLEEP_MS);
		}
		shmem_barrier_all();
		if (me == 1 && puts && memcmp(m->area, message, i->bytes) != 0)
			die("%s: not what was written", i->name);
	}
	fflush(stdout);
	shmem_barrier_all();
	shmem_finalize();
	return 0;
}
