/*
 * barrier: no node leaves it before every node has entered it.
 *
 * Each node exports an array with one word for each node. To enter round r is to write r into one's own word on every
 * node; to leave is to see r, or more, in every word of the own array. The words are the truth; the notification that
 * comes with each only ends the sleep.
 *
 * Entering fences first, so that whatever a node wrote before a barrier, anywhere, is in place for all after it. The
 * words themselves are not fenced: a write needs no fence to arrive, only to be known to have arrived.
 */
#ifndef BARRIER_H
#define BARRIER_H

#include "check.h"

struct barrier {
	unsigned me, nodes;
	uint64_t round;
	uint64_t *entered; /* [nodes], exported: the round that each node has entered */
	rmem_desc *peer;   /* [nodes]: their arrays */
	rmem_seg seg;
};

static inline void barrier_init(struct barrier *b)
{
	unsigned n;

	b->me = rmem_node();
	b->nodes = rmem_nodes();
	b->round = 0;
	b->entered = calloc(b->nodes, sizeof *b->entered);
	b->peer = calloc(b->nodes, sizeof *b->peer);
	if (b->entered == NULL || b->peer == NULL) {
		fprintf(stderr, "node %u: no memory for a barrier of %u nodes\n", b->me, b->nodes);
		exit(1);
	}
	b->seg = check("export barrier", rmem_export("barrier", b->entered, b->nodes * sizeof *b->entered, RMEM_WRITE));
	for (n = 0; n < b->nodes; n++)
		b->peer[n] = check("import barrier", rmem_import("barrier", n, RMEM_WRITE, -1));
}

static inline void barrier_wait(struct barrier *b)
{
	unsigned n;
	rmem_event event;

	check("fence before a barrier", rmem_fence(RMEM_EVERY));
	b->round++;
	for (n = 0; n < b->nodes; n++)
		check("enter a barrier", rmem_write(b->peer[n], b->me * sizeof b->round, &b->round, sizeof b->round,
						     RMEM_NOTIFY));
	for (n = 0; n < b->nodes; n++)
		while (__atomic_load_n(&b->entered[n], __ATOMIC_ACQUIRE) < b->round)
			check("wait in a barrier", rmem_wait(b->seg, &event, -1));
}

#endif
