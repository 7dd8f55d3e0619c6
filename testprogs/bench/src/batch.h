/*
 * What all programs of rmemrun bench share - the guests, the floors, the peers: their arguments, their CPUs, their clock,
 * and how times are taken and printed.
 *
 *     PROGRAM MS CPU CPU [VARIANT] ITEM:BYTES...
 *
 * About MS milliseconds are spent on each item. The initiator is confined to the first CPU and the target to the
 * second; -1 leaves a side where it is. Of each item come lines of
 *
 *     batch ITEM BYTES OPERATIONS NANOSECONDS     so many operations, one behind the other, took so long together
 *     none ITEM BYTES REASON                      it cannot be measured, and why
 *     version TEXT                                of the library that was measured
 *
 * and every other line is a remark. Which items there are, and what one operation of each is, stands in the programs.
 */
#ifndef BENCH_BATCH_H
#define BENCH_BATCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
	MOST = 1 << 20,      /* bytes of an operation */
	BATCHES = 1000,      /* of an item, at most */
	FEWEST = 8,          /* and at least, unless that takes ten times as long as it should */
	BATCH_NS = 10000,    /* what a batch takes, if one operation does not take longer: the clock is then 0.5 % of it */
	ITEMS = 64,          /* at most */
	ASLEEP_MS = 450,     /* that a target sleeps, in items whose name ends in -asleep */
	ASLEEP_FROM_MS = 20, /* after which the initiator begins, and */
	ASLEEP_FOR_MS = 100, /* how long it goes on, or until an operation has taken as long */
	APART_FOR_MS = 100, /* how long operations are measured that are apart */
	APART_YIELDS = 64,   /* of the CPU, from one to the next */
};

struct item {
	char name[32];
	size_t bytes;
};

struct options {
	unsigned ms;
	int cpu[2]; /* of the initiator, of the target */
	const char *variant;
	struct item item[ITEMS];
	int items;
};

/* A batch of an item that is being measured. */
struct batches {
	struct item item;
	uint64_t n;         /* operations of a batch */
	unsigned enough;    /* batches of n that were, one behind the other */
	uint64_t begin;     /* when the first batch began */
	uint64_t warm, end; /* until when nothing is kept; when to stop; 0: not known yet */
	unsigned count;     /* kept */
	uint64_t took[BATCHES];
};

__attribute__((unused, noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	if (errno)
		fprintf(stderr, ": %s", strerror(errno));
	fputc('\n', stderr);
	exit(1);
}

/* CLOCK_MONOTONIC in nanoseconds. */
static inline uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

__attribute__((unused)) static void sleep_ms(unsigned ms)
{
	struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};

	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		;
}

__attribute__((unused)) static void pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) != 0)
		die("confine the program to CPU %d", cpu);
}

/* Reads the command line; with_variant: there is a VARIANT. */
__attribute__((unused)) static void options(struct options *o, int argc, char **argv, int with_variant)
{
	int first = with_variant ? 5 : 4, i;

	if (argc < first || argc - first > ITEMS) {
		fprintf(stderr, "usage: %s MS CPU CPU%s ITEM:BYTES...\n", argv[0], with_variant ? " VARIANT" : "");
		exit(2);
	}
	o->ms = (unsigned)atoi(argv[1]);
	o->cpu[0] = atoi(argv[2]);
	o->cpu[1] = atoi(argv[3]);
	o->variant = with_variant ? argv[4] : "";
	o->items = argc - first;
	for (i = 0; i < o->items; i++)
		if (sscanf(argv[first + i], "%31[^:]:%zu", o->item[i].name, &o->item[i].bytes) != 2 ||
		    o->item[i].bytes > MOST) {
			fprintf(stderr, "%s: %s is not ITEM:BYTES with at most %d bytes\n", argv[0], argv[first + i], MOST);
			exit(2);
		}
	errno = 0;
}

static inline int is(const struct item *item, const char *name) { return strcmp(item->name, name) == 0; }

__attribute__((unused)) static void none(const struct item *item, const char *reason)
{
	printf("none %s %zu %s\n", item->name, item->bytes, reason);
}

__attribute__((unused)) static struct batches *batches_begin(const struct item *item)
{
	static struct batches b; /* one at a time */

	b.item = *item;
	b.n = 1;
	b.begin = clock_ns();
	b.warm = b.end = 0;
	b.enough = b.count = 0;
	return &b;
}

static inline int batches_more(const struct batches *b)
{
	uint64_t now = clock_ns();

	return b->end == 0 || b->count == 0 || (b->count < BATCHES && now < b->end) ||
	       (b->count < FEWEST && now - b->begin < (b->end - b->begin) * 10);
}

/*
 * Takes in a batch. The first ones find out how many operations it should have - some may have been long for another
 * reason, as are the first operations of some libraries -, the next ones warm up.
 */
__attribute__((unused)) static void batches_add(struct batches *b, uint64_t ns, unsigned ms)
{
	if (b->end == 0 && ns < BATCH_NS && b->n < 1 << 20) {
		b->n *= 2;
		b->enough = 0;
		return;
	}
	if (b->end == 0 && ++b->enough < FEWEST && clock_ns() - b->begin < (uint64_t)ms * 10000000)
		return;
	if (b->end == 0) {
		b->warm = clock_ns() + (uint64_t)ms * 200000;
		b->end = b->warm + (uint64_t)ms * 1000000;
		return;
	}
	if (ns < BATCH_NS / 2 && b->n < 1 << 20) { /* it was slow when that was found out, and is no more: all over again */
		b->n *= 2;
		b->end = 0;
		b->enough = b->count = 0;
		return;
	}
	if (b->warm != 0 && clock_ns() < b->warm)
		return;
	b->warm = 0;
	b->took[b->count++] = ns;
}

__attribute__((unused)) static void batches_print(const struct batches *b)
{
	for (unsigned i = 0; i < b->count; i++)
		printf("batch %s %zu %llu %llu\n", b->item.name, b->item.bytes, (unsigned long long)b->n,
		       (unsigned long long)b->took[i]);
	fflush(stdout);
}

/* Measures a statement, which is one operation. */
#define MEASURE(item, ms, statement)                                                                                   \
	do {                                                                                                           \
		struct batches *b_ = batches_begin(item);                                                              \
		while (batches_more(b_)) {                                                                             \
			uint64_t n_ = b_->n, t_ = clock_ns();                                                          \
			for (; n_ > 0; n_--) {                                                                         \
				statement;                                                                             \
			}                                                                                              \
			batches_add(b_, clock_ns() - t_, ms);                                                          \
		}                                                                                                      \
		batches_print(b_);                                                                                     \
	} while (0)

/*
 * Measures a statement while the target, which began to sleep at about the same time, sleeps: each operation by itself,
 * and the first too. An operation that takes as long as the rest of the sleep has waited for the target to wake.
 */
#define MEASURE_ASLEEP(item, statement)                                                                                \
	do {                                                                                                           \
		struct batches *b_ = batches_begin(item);                                                              \
		sleep_ms(ASLEEP_FROM_MS);                                                                              \
		b_->end = clock_ns() + (uint64_t)ASLEEP_FOR_MS * 1000000;                                              \
		do {                                                                                                   \
			uint64_t t_ = clock_ns();                                                                      \
			statement;                                                                                     \
			b_->took[b_->count++] = clock_ns() - t_;                                                       \
		} while (b_->count < BATCHES && clock_ns() < b_->end);                                                 \
		batches_print(b_);                                                                                     \
	} while (0)

/*
 * Measures a statement each by itself, behind a pause in which who is on the same CPU, and gives it away now and then, goes to sleep.
 * The CPU does not, from which it would wake slowly.
 */
#define MEASURE_APART(item, statement)                                                                                 \
	do {                                                                                                           \
		struct batches *b_ = batches_begin(item);                                                              \
		b_->end = clock_ns() + (uint64_t)APART_FOR_MS * 1000000;                                               \
		do {                                                                                                   \
			uint64_t t_;                                                                                   \
			for (int i_ = 0; i_ < APART_YIELDS; i_++)                                                      \
				sched_yield();                                                                         \
			t_ = clock_ns();                                                                               \
			statement;                                                                                     \
			b_->took[b_->count++] = clock_ns() - t_;                                                       \
		} while (b_->count < BATCHES && clock_ns() < b_->end);                                                 \
		batches_print(b_);                                                                                     \
	} while (0)

/* Memory that a process shares with the children it forks, zeroed. */
__attribute__((unused)) static void *shared(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("map %zu bytes of shared memory", bytes);
	return p;
}

/* A child that ends with its parent, on a CPU. Returns 0 in the child. */
__attribute__((unused)) static pid_t child(int cpu)
{
	pid_t parent = getpid(), pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
			_exit(1);
		pin(cpu);
	}
	return pid;
}

#endif
