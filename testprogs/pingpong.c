/*
 * pingpong [ROUNDS [BYTES]]: two nodes write to each other in turn. No node asks to be woken: the data is written, and
 * its owner, who polls its own memory, sees it. That is the whole idea: data moves without control.
 *
 * BYTES is a multiple of 8. The message of round r has r in each of its words, so it is there when the last word to
 * change is r: an aligned word is never seen half written, and no order of the words is relied upon.
 */
#include "check.h"
#include <sched.h>

#define MOST 65536

static uint64_t box[MOST / sizeof(uint64_t)], message[MOST / sizeof(uint64_t)];

static void send_round(rmem_desc desc, uint64_t round, size_t words)
{
	size_t i;

	for (i = 0; i < words; i++)
		message[i] = round;
	check("write", rmem_write(desc, 0, message, words * sizeof *message, 0));
}

static void receive_round(uint64_t round, size_t words)
{
	size_t i;

	for (i = 0; i < words; i++) {
		uint64_t seen;
		while ((seen = __atomic_load_n(&box[i], __ATOMIC_ACQUIRE)) != round) {
			if (seen != round - 1) {
				fprintf(stderr, "node %u: word %zu holds %llu in round %llu\n", rmem_node(), i,
					(unsigned long long)seen, (unsigned long long)round);
				exit(1);
			}
			sched_yield(); /* there may be more nodes than processors */
		}
	}
}

int main(int argc, char **argv)
{
	uint64_t rounds = argument(argc, argv, 1, "ROUNDS", 1000, 1, 1000000000), round;
	size_t bytes = argument(argc, argv, 2, "BYTES", 40, 8, MOST);
	unsigned me = rmem_node();
	rmem_desc desc;

	if (rmem_nodes() < 2 || bytes % sizeof *box != 0) {
		fprintf(stderr, "%s: needs two nodes (rmemrun -n 2 %s) and BYTES a multiple of 8\n", argv[0], argv[0]);
		return 2;
	}
	if (me > 1)
		return 0; /* two play */
	check("export box", rmem_export("box", box, sizeof box, RMEM_WRITE));
	desc = check("import box", rmem_import("box", 1 - me, RMEM_WRITE, -1));

	for (round = 1; round <= rounds; round++) {
		if (me == 0)
			send_round(desc, round, bytes / sizeof *box);
		receive_round(round, bytes / sizeof *box);
		if (me == 1)
			send_round(desc, round, bytes / sizeof *box);
	}
	check("fence", rmem_fence(desc));
	if (me == 0)
		printf("%llu round trips of %zu bytes, every word right\n", (unsigned long long)rounds, bytes);
	return 0;
}
