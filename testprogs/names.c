/*
 * names [NAMES]: a name service that is a distributed hash table, looked up by remote reads alone.
 *
 * On each node a clerk keeps a part of the table: the names whose hash says that this node is their home. Who looks a
 * name up hashes it, reads the bucket from the home's memory, and probes on if another name is there. No clerk takes
 * part: the processor of the home does nothing, and a clerk goes on binding while others read.
 *
 * A record is 40 bytes, so that one cell brings it. It is longer than the word that is never seen half written, so it
 * proves itself: `sum` is a hash of the rest, and a reader who meets a record in the middle of a change reads it again.
 */
#include "barrier.h"
#include <string.h>

struct record {
	char name[16];    /* padded with 0 */
	uint64_t value;   /* what the name stands for */
	uint64_t version; /* counts the bindings of this name; 0: the bucket is empty */
	uint64_t sum;     /* of the fields before it; 0 if empty */
};

static struct record *table; /* this node's part, exported */
static uint64_t buckets;     /* of each part */
static rmem_desc *part;      /* [nodes] */
static unsigned nodes;

/* FNV-1a, 64 bits. */
static uint64_t hash(const void *data, size_t length)
{
	const unsigned char *p = data;
	uint64_t h = 0xcbf29ce484222325;

	while (length-- > 0)
		h = (h ^ *p++) * 0x100000001b3;
	return h;
}

static uint64_t sum(const struct record *r) { return hash(r, offsetof(struct record, sum)); }

static void set_name(char name[16], const char *kind, unsigned long number)
{
	memset(name, 0, 16);
	snprintf(name, 16, "%s-%lu", kind, number);
}

static unsigned home(const char name[16]) { return (unsigned)(hash(name, 16) % nodes); }

/* The bucket to look into at the given probe, 0 for the first. */
static uint64_t bucket(const char name[16], uint64_t probe) { return (hash(name, 16) / nodes + probe) % buckets; }

/* Binds a name, here at its home. Only this function changes the table, and only in its owner's memory. */
static void bind(const char name[16], uint64_t value)
{
	struct record r, *here;
	uint64_t probe = 0;

	do
		here = &table[bucket(name, probe++)];
	while (here->version != 0 && memcmp(here->name, name, sizeof r.name) != 0);

	memcpy(r.name, name, sizeof r.name);
	r.value = value;
	r.version = here->version + 1;
	r.sum = sum(&r);
	memcpy(here, &r, sizeof r);
}

/* Looks a name up, wherever its home is. Returns 0 if it is not bound. */
static int look_up(const char name[16], struct record *r)
{
	unsigned node = home(name);
	uint64_t probe;

	for (probe = 0; probe < buckets; probe++) {
		uint64_t at = bucket(name, probe) * sizeof *r;

		do
			check("read a bucket", rmem_read(part[node], at, r, sizeof *r, 0));
		while (r->sum != (r->version == 0 ? 0 : sum(r)));
		if (r->version == 0)
			return 0;
		if (memcmp(r->name, name, sizeof r->name) == 0)
			return 1;
	}
	return 0;
}

/* The value that binding number `version` gives name number n. */
static uint64_t value_of(unsigned long n, uint64_t version) { return n << 32 | version; }

int main(int argc, char **argv)
{
	unsigned long names = argument(argc, argv, 1, "NAMES", 200, 1, 1000000), n, k, bound = 0, found = 0;
	struct barrier barrier;
	struct record r;
	unsigned node;
	char name[16];

	barrier_init(&barrier);
	nodes = barrier.nodes;
	for (buckets = 1; buckets < 2 * names;)
		buckets *= 2;
	table = calloc(buckets, sizeof *table);
	part = calloc(nodes, sizeof *part);
	if (table == NULL || part == NULL) {
		fprintf(stderr, "node %u: no memory for %lu names\n", barrier.me, names);
		return 1;
	}
	check("export names", rmem_export("names", table, buckets * sizeof *table, RMEM_READ));
	for (node = 0; node < nodes; node++)
		part[node] = check("import names", rmem_import("names", node, RMEM_READ, -1));

	for (n = 0; n < names; n++) {
		set_name(name, "name", n);
		if (home(name) != barrier.me)
			continue;
		bind(name, value_of(n, 1));
		bound++;
	}
	barrier_wait(&barrier);

	/* Each node looks up every name, beginning with another one, and binds its own anew meanwhile. */
	for (k = 0; k < names; k++) {
		n = (k + barrier.me * names / nodes) % names;
		set_name(name, "name", n);
		if (home(name) == barrier.me)
			bind(name, value_of(n, 2));
		if (!look_up(name, &r) || r.version > 2 || r.value != value_of(n, r.version)) {
			fprintf(stderr, "node %u: %s: wrong or not found\n", barrier.me, name);
			return 1;
		}
		found++;
		set_name(name, "absent", n);
		if (look_up(name, &r)) {
			fprintf(stderr, "node %u: %s: found, and nobody bound it\n", barrier.me, name);
			return 1;
		}
	}
	barrier_wait(&barrier);

	/* Now nobody binds: what is read is the last binding. */
	for (n = 0; n < names; n++) {
		set_name(name, "name", n);
		if (!look_up(name, &r) || r.version != 2 || r.value != value_of(n, 2)) {
			fprintf(stderr, "node %u: %s: not the last binding\n", barrier.me, name);
			return 1;
		}
	}
	barrier_wait(&barrier);
	printf("node %u: home of %lu names, found all %lu\n", barrier.me, bound, found);
	return 0;
}
