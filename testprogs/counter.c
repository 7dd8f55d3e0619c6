/*
 * counter [ROUNDS [THREADS]]: every thread of every node adds ROUNDS to three counters in the memory of node 0.
 *
 *   locked   an ordinary word: read it, add one, write it back, while holding a lock that is taken by compare-and-swap
 *   swapped  compare-and-swap until nobody was in between
 *   added    fetch-and-add; node 0, whose memory it is, uses its own processor's instruction instead
 *
 * All three must end at ROUNDS x THREADS x nodes. The first shows the order of operations through one descriptor (the
 * write of the counter takes effect before the release of the lock, with no fence), the second that remote atomics are
 * atomic against each other, the third that they are atomic against the owner's own.
 */
#include "barrier.h"
#include <pthread.h>
#include <sched.h>
#include <string.h>

static struct counters {
	uint64_t lock; /* 0: free, else who has it */
	uint64_t locked, swapped, added;
} counters;

#define AT(field) offsetof(struct counters, field)

static uint64_t rounds;
static rmem_desc desc;

static void take_lock(uint64_t holder)
{
	for (;;) {
		uint64_t old;
		check("take the lock", rmem_cas(desc, AT(lock), 0, holder, &old));
		if (old == 0)
			return;
		sched_yield();
	}
}

static void release_lock(uint64_t holder)
{
	uint64_t old;

	check("release the lock", rmem_swap(desc, AT(lock), 0, &old));
	if (old != holder) {
		fprintf(stderr, "node %u: %llu held the lock that %llu had taken\n", rmem_node(),
			(unsigned long long)old, (unsigned long long)holder);
		exit(1);
	}
}

static void *count(void *argument)
{
	uint64_t holder = *(uint64_t *)argument, n, value, old;

	for (n = 0; n < rounds; n++) {
		take_lock(holder);
		check("read the counter", rmem_read(desc, AT(locked), &value, sizeof value, 0));
		value++;
		check("write the counter", rmem_write(desc, AT(locked), &value, sizeof value, 0));
		release_lock(holder);

		check("read the counter", rmem_read(desc, AT(swapped), &value, sizeof value, 0));
		while (check("cas", rmem_cas(desc, AT(swapped), value, value + 1, &old)), old != value)
			value = old;

		if (rmem_node() == 0)
			__atomic_fetch_add(&counters.added, 1, __ATOMIC_SEQ_CST);
		else
			check("fadd", rmem_fadd(desc, AT(added), 1, NULL));
	}
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned long threads, t;
	struct barrier barrier;
	pthread_t *thread;
	uint64_t *holder, want;

	rounds = argument(argc, argv, 1, "ROUNDS", 100, 1, 1000000000);
	threads = argument(argc, argv, 2, "THREADS", 1, 1, 256);
	thread = calloc(threads, sizeof *thread);
	holder = calloc(threads, sizeof *holder);
	if (thread == NULL || holder == NULL) {
		fprintf(stderr, "%s: no memory for %lu threads\n", argv[0], threads);
		return 1;
	}

	barrier_init(&barrier);
	if (barrier.me == 0)
		check("export counters", rmem_export("counters", &counters, sizeof counters,
						     RMEM_READ | RMEM_WRITE | RMEM_ATOMIC));
	desc = check("import counters", rmem_import("counters", 0, RMEM_READ | RMEM_WRITE | RMEM_ATOMIC, -1));
	barrier_wait(&barrier);

	for (t = 0; t < threads; t++) {
		int error;
		holder[t] = 1 + barrier.me * threads + t;
		error = pthread_create(&thread[t], NULL, count, &holder[t]);
		if (error != 0) {
			fprintf(stderr, "%s: thread %lu: %s\n", argv[0], t, strerror(error));
			return 1;
		}
	}
	for (t = 0; t < threads; t++)
		pthread_join(thread[t], NULL);
	barrier_wait(&barrier);

	if (barrier.me == 0) {
		want = rounds * threads * barrier.nodes;
		printf("locked %llu, swapped %llu, added %llu, of %llu\n", (unsigned long long)counters.locked,
		       (unsigned long long)counters.swapped, (unsigned long long)counters.added,
		       (unsigned long long)want);
		if (counters.locked != want || counters.swapped != want || counters.added != want)
			return 1;
	}
	return 0;
}
