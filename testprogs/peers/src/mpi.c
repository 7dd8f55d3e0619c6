/*
 * A peer: one-sided communication of MPI, between two ranks.
 *
 *     VARIANT   create: a window on memory from malloc; allocate: MPI_Win_allocate; shared: MPI_Win_allocate_shared
 *
 *     put:BYTES   MPI_Put, MPI_Win_flush       put-asleep:BYTES   the same, each by itself, while the target sleeps
 *     get:BYTES   MPI_Get, MPI_Win_flush
 *     cas:8       MPI_Compare_and_swap, flush  fadd:8             MPI_Fetch_and_op of MPI_SUM, flush
 *
 * The target waits in MPI_Barrier, where it polls for whoever needs that. Passive target: MPI_Win_lock_all, NOCHECK.
 */
#include "batch.h"
#include <mpi.h>

static char message[MOST];

static char *window(const char *kind, MPI_Win *win)
{
	MPI_Comm all = MPI_COMM_WORLD;
	char *base = NULL;

	if (strcmp(kind, "create") == 0) {
		base = malloc(MOST);
		if (base == NULL)
			die("no memory");
		MPI_Win_create(base, MOST, 1, MPI_INFO_NULL, all, win);
	} else if (strcmp(kind, "allocate") == 0) {
		MPI_Win_allocate(MOST, 1, MPI_INFO_NULL, all, &base, win);
	} else if (strcmp(kind, "shared") == 0) {
		MPI_Win_allocate_shared(MOST, 1, MPI_INFO_NULL, all, &base, win);
	} else {
		die("no window of kind %s", kind);
	}
	return base;
}

static void put(MPI_Win win, size_t bytes)
{
	MPI_Put(message, (int)bytes, MPI_CHAR, 1, 0, (int)bytes, MPI_CHAR, win);
	MPI_Win_flush(1, win);
}

static void get(MPI_Win win, size_t bytes)
{
	MPI_Get(message, (int)bytes, MPI_CHAR, 1, 0, (int)bytes, MPI_CHAR, win);
	MPI_Win_flush(1, win);
}

static void measure(const struct item *item, MPI_Win win, unsigned ms)
{
	static uint64_t word, next, old, one = 1;

	if (is(item, "put")) {
		MEASURE(item, ms, put(win, item->bytes));
	} else if (is(item, "put-asleep")) {
		put(win, item->bytes); /* what is set up at the first time is set up */
		MPI_Barrier(MPI_COMM_WORLD);
		MEASURE_ASLEEP(item, put(win, item->bytes));
	} else if (is(item, "get")) {
		MEASURE(item, ms, get(win, item->bytes));
	} else if (is(item, "cas") && item->bytes == 8) {
		MPI_Get(&word, 8, MPI_CHAR, 1, 0, 8, MPI_CHAR, win);
		MPI_Win_flush(1, win);
		MEASURE(item, ms, {
			next = word + 1;
			MPI_Compare_and_swap(&next, &word, &old, MPI_UINT64_T, 1, 0, win);
			MPI_Win_flush(1, win);
			if (old != word)
				die("MPI_Compare_and_swap found %llu", (unsigned long long)old);
			word = next;
		});
	} else if (is(item, "fadd") && item->bytes == 8) {
		MEASURE(item, ms, {
			MPI_Fetch_and_op(&one, &old, MPI_UINT64_T, 1, 0, MPI_SUM, win);
			MPI_Win_flush(1, win);
		});
	} else {
		none(item, "no such item");
	}
}

/* The first line of what the library says of itself, up to a comma. */
static void version(void)
{
	char text[MPI_MAX_LIBRARY_VERSION_STRING];
	int length;

	MPI_Get_library_version(text, &length);
	text[strcspn(text, "\n,")] = '\0';
	for (char *p = text; *p; p++)
		if (*p == '\t')
			*p = ' ';
	printf("version %s\n", text);
}

int main(int argc, char **argv)
{
	struct options o;
	int rank, ranks;
	char *base;
	MPI_Win win;

	MPI_Init(&argc, &argv);
	options(&o, argc, argv, 1);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &ranks);
	if (ranks != 2)
		die("%d ranks, not 2", ranks);
	pin(o.cpu[rank]);
	memset(message, 1, sizeof message);
	base = window(o.variant, &win);
	memset(base, 0, MOST);
	MPI_Win_lock_all(MPI_MODE_NOCHECK, win);
	if (rank == 0)
		version();
	for (struct item *i = o.item; i < o.item + o.items; i++) {
		int asleep = is(i, "put-asleep"), puts = asleep || is(i, "put");
		memset(base, 0, i->bytes);
		memset(message, 1, i->bytes);
		MPI_Win_sync(win);
		MPI_Barrier(MPI_COMM_WORLD);
		if (rank == 0) {
			measure(i, win, o.ms);
		} else if (asleep) {
			MPI_Barrier(MPI_COMM_WORLD);
			sleep_ms(ASLEEP_MS);
		}
		MPI_Barrier(MPI_COMM_WORLD);
		MPI_Win_sync(win);
		if (rank == 1 && puts && memcmp(base, message, i->bytes) != 0)
			die("%s: not what was written", i->name);
	}
	MPI_Win_unlock_all(win);
	MPI_Win_free(&win);
	MPI_Finalize();
	return 0;
}
