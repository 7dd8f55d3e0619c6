/*
 * producer [ITEMS [SLOTS]]: node 0 consumes what every other node produces.
 *
 * The consumer exports a ring of slots for each producer, and beside it the count of items produced, `tail`; each producer
 * exports the count of its items consumed, `head`. Each count has one writer. A producer writes the item, then the tail
 * through the same descriptor: that they take effect in order is all the synchronisation there is, and no fence is
 * needed. The write of a count carries a notification, for an owner who sleeps because its ring is empty, or full.
 */
#include "check.h"
#include <string.h>

#define MOST_SLOTS 1024

struct item {
	uint64_t number, producer, words[3]; /* 40 bytes: one cell */
};

struct ring {
	uint64_t tail; /* items produced; the producer writes it */
	struct item slot[MOST_SLOTS];
};

static struct item make_item(uint64_t producer, uint64_t number)
{
	struct item item = {number, producer, {number * 3, number ^ producer << 32, ~number}};
	return item;
}

static void produce(uint64_t items, uint64_t slots)
{
	static uint64_t head; /* items consumed; the consumer writes it */
	unsigned me = rmem_node();
	rmem_seg seg = check("export head", rmem_export("head", &head, sizeof head, RMEM_WRITE));
	rmem_desc rings = check("import rings", rmem_import("rings", 0, RMEM_WRITE, -1));
	uint64_t ring = (me - 1) * sizeof(struct ring), tail;
	rmem_event event;

	for (tail = 0; tail < items;) {
		struct item item = make_item(me, tail);
		uint64_t at = ring + offsetof(struct ring, slot) + tail % slots * sizeof item;

		while (tail - __atomic_load_n(&head, __ATOMIC_ACQUIRE) == slots)
			check("wait for a free slot", rmem_wait(seg, &event, -1));
		check("write an item", rmem_write(rings, at, &item, sizeof item, 0));
		tail++;
		check("write the tail", rmem_write(rings, ring + offsetof(struct ring, tail), &tail, sizeof tail,
						   RMEM_NOTIFY));
	}
	/* Stay until all is consumed: the consumer still writes to `head`. */
	while (__atomic_load_n(&head, __ATOMIC_ACQUIRE) < items)
		check("wait for the end", rmem_wait(seg, &event, -1));
}

static void consume(uint64_t items, uint64_t slots)
{
	unsigned producers = rmem_nodes() - 1, p, busy = producers;
	struct ring *rings = calloc(producers, sizeof *rings);
	uint64_t *head = calloc(producers, sizeof *head);
	rmem_desc *heads = calloc(producers, sizeof *heads);
	rmem_event event;
	rmem_seg seg;

	if (rings == NULL || head == NULL || heads == NULL) {
		fprintf(stderr, "node 0: no memory for %u rings\n", producers);
		exit(1);
	}
	seg = check("export rings", rmem_export("rings", rings, producers * sizeof *rings, RMEM_WRITE));
	for (p = 0; p < producers; p++)
		heads[p] = check("import head", rmem_import("head", p + 1, RMEM_WRITE, -1));

	while (busy > 0) {
		check("wait for an item", rmem_wait(seg, &event, -1));
		p = event.node - 1;
		/* One event may stand for many items: the tail says for how many. */
		while (head[p] < __atomic_load_n(&rings[p].tail, __ATOMIC_ACQUIRE)) {
			struct item want = make_item(p + 1, head[p]);

			if (memcmp(&rings[p].slot[head[p] % slots], &want, sizeof want) != 0) {
				fprintf(stderr, "node 0: item %llu of producer %u is wrong\n",
					(unsigned long long)head[p], p + 1);
				exit(1);
			}
			if (++head[p] == items)
				busy--;
			check("write the head", rmem_write(heads[p], 0, &head[p], sizeof head[p], RMEM_NOTIFY));
		}
	}
	printf("%llu items from each of %u producers, in order\n", (unsigned long long)items, producers);
}

int main(int argc, char **argv)
{
	uint64_t items = argument(argc, argv, 1, "ITEMS", 1000, 1, 1000000000);
	uint64_t slots = argument(argc, argv, 2, "SLOTS", 16, 1, MOST_SLOTS);

	if (rmem_nodes() < 2) {
		fprintf(stderr, "%s: needs a producer and a consumer: rmemrun -n 2 %s\n", argv[0], argv[0]);
		return 2;
	}
	if (rmem_node() == 0)
		consume(items, slots);
	else
		produce(items, slots);
	return 0;
}
