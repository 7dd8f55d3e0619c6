/*
 * alltoall [OPERATIONS [SEED [THREADS]]]: random traffic between all nodes, checked word for word.
 *
 * Every thread of every node is an actor, and has a region of its own in the memory of every node. It draws operations
 * from a random stream: reads, writes of any length with and without byte swap and notification, atomics of both widths,
 * each on its region on a random node. It keeps a shadow of its regions, so it knows what every read and every atomic
 * must return. At the end each node draws the streams of all actors again, carries out what was meant for it on a shadow,
 * and compares: every byte of its memory, and the number of notifications.
 */
#include "barrier.h"
#include <pthread.h>
#include <string.h>

enum { REGION = 1024 }; /* bytes */
enum kind { READ, READ_ASYNC, WRITE, CAS, FADD, SWAP, KINDS };

struct op {
	enum kind kind;
	unsigned node;    /* where to */
	uint64_t off;     /* in the region */
	uint64_t len;     /* read, write: bytes; atomics: 4 or 8 */
	unsigned swab;    /* read, write: bytes of the word to reverse, 1, 2, 4 or 8 */
	int notify;       /* write */
	uint64_t content; /* where the data comes from */
};

static unsigned nodes, me;
static unsigned long operations, seed, threads;
static rmem_desc *regions; /* [nodes] */
static unsigned char *box; /* this node's regions, exported */

/* splitmix64: every call gives the next number of the stream. */
static uint64_t next(uint64_t *stream)
{
	uint64_t z = *stream += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t start_stream(unsigned long actor)
{
	uint64_t s = seed * 0x10001 + actor;
	return next(&s);
}

static struct op draw(uint64_t *stream)
{
	struct op op;
	uint64_t words;

	memset(&op, 0, sizeof op);
	op.kind = (enum kind)(next(stream) % KINDS);
	op.node = (unsigned)(next(stream) % nodes);
	op.content = next(stream);
	if (op.kind >= CAS) {
		op.len = next(stream) % 2 ? 4 : 8;
		op.off = next(stream) % (REGION / op.len) * op.len;
		return op;
	}
	op.swab = 1u << next(stream) % 4;
	op.notify = op.kind == WRITE && next(stream) % 4 == 0;
	/* Half of the lengths fit into one cell. */
	words = (next(stream) % 2 ? 40 : REGION) / op.swab;
	op.len = next(stream) % (words + 1) * op.swab;
	op.off = next(stream) % (REGION - op.len + 1);
	return op;
}

static void reverse_words(unsigned char *p, uint64_t len, unsigned word)
{
	for (; len > 0; p += word, len -= word)
		for (unsigned i = 0; i < word / 2; i++) {
			unsigned char byte = p[i];
			p[i] = p[word - 1 - i];
			p[word - 1 - i] = byte;
		}
}

static void fill(unsigned char *p, uint64_t len, uint64_t content)
{
	while (len-- > 0)
		*p++ = (unsigned char)next(&content);
}

/* The operands of an atomic, as wide as it is. Every other cas expects what is there. */
static uint64_t narrow(const struct op *op, uint64_t v) { return op->len == 4 ? (uint32_t)v : v; }
static uint64_t operand(const struct op *op) { return narrow(op, op->content); }
static uint64_t expected(const struct op *op, uint64_t held)
{
	return op->content % 2 ? held : narrow(op, op->content + 1);
}

/* Carries out an operation on a shadow. Returns what the word held before an atomic. */
static uint64_t apply(unsigned char *shadow, const struct op *op)
{
	unsigned char *at = shadow + op->off;
	uint64_t held = 0, become;

	switch (op->kind) {
	case WRITE:
		fill(at, op->len, op->content);
		reverse_words(at, op->len, op->swab);
		return 0;
	case CAS:
	case FADD:
	case SWAP:
		memcpy(&held, at, op->len);
		become = op->kind == FADD ? held + operand(op) : operand(op);
		if (op->kind != CAS || held == expected(op, held))
			memcpy(at, &become, op->len);
		return held;
	default:
		return 0;
	}
}

static unsigned swab_flag(unsigned word)
{
	return word == 1 ? 0 : word == 2 ? RMEM_SWAB16 : word == 4 ? RMEM_SWAB32 : RMEM_SWAB64;
}

/* Carries out an atomic for real. */
static int atomic_op(const struct op *op, uint64_t off, uint64_t held, uint64_t *old)
{
	rmem_desc d = regions[op->node];
	uint32_t old32 = 0;
	int rc;

	if (op->len == 8)
		return op->kind == CAS    ? rmem_cas(d, off, expected(op, held), operand(op), old)
		       : op->kind == FADD ? rmem_fadd(d, off, operand(op), old)
					  : rmem_swap(d, off, operand(op), old);
	rc = op->kind == CAS    ? rmem_cas32(d, off, (uint32_t)expected(op, held), (uint32_t)operand(op), &old32)
	     : op->kind == FADD ? rmem_fadd32(d, off, (uint32_t)operand(op), &old32)
				: rmem_swap32(d, off, (uint32_t)operand(op), &old32);
	*old = old32;
	return rc;
}

static void differ(const struct op *op, unsigned long number, unsigned long actor)
{
	static const char *const name[KINDS] = {"read", "asynchronous read", "write", "cas", "fadd", "swap"};

	fprintf(stderr, "actor %lu: operation %lu, a %s of %llu bytes at %llu on node %u, returned wrong data (seed %lu)\n",
		actor, number, name[op->kind], (unsigned long long)op->len, (unsigned long long)op->off, op->node, seed);
	exit(1);
}

static void *act(void *argument)
{
	unsigned long actor = *(unsigned long *)argument, n;
	uint64_t stream = start_stream(actor);
	unsigned char *shadows = calloc(nodes, REGION), data[REGION];

	if (shadows == NULL) {
		fprintf(stderr, "actor %lu: no memory\n", actor);
		exit(1);
	}
	for (n = 0; n < operations; n++) {
		struct op op = draw(&stream);
		unsigned char *shadow = shadows + (size_t)op.node * REGION;
		uint64_t off = actor * REGION + op.off, held, old = 0;
		unsigned flags = swab_flag(op.swab);

		switch (op.kind) {
		case READ:
		case READ_ASYNC:
			memset(data, 0xee, sizeof data);
			if (op.kind == READ_ASYNC) {
				check("read", rmem_read(regions[op.node], off, data, op.len, flags | RMEM_ASYNC));
				check("fence", rmem_fence(regions[op.node]));
			} else {
				check("read", rmem_read(regions[op.node], off, data, op.len, flags));
			}
			reverse_words(data, op.len, op.swab);
			if (memcmp(data, shadow + op.off, op.len) != 0)
				differ(&op, n, actor);
			break;
		case WRITE:
			apply(shadow, &op);
			fill(data, op.len, op.content);
			check("write", rmem_write(regions[op.node], off, data, op.len,
						  flags | (op.notify ? RMEM_NOTIFY : 0)));
			memset(data, 0xdd, sizeof data); /* data may be reused */
			break;
		default:
			held = apply(shadow, &op);
			check("atomic", atomic_op(&op, off, held, &old));
			if (old != held)
				differ(&op, n, actor);
		}
	}
	free(shadows);
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned long actors, a, n, *number;
	uint64_t notified = 0, seen = 0;
	struct barrier barrier;
	pthread_t *thread;
	rmem_event event;
	rmem_seg seg;

	operations = argument(argc, argv, 1, "OPERATIONS", 500, 0, 1000000000);
	seed = argument(argc, argv, 2, "SEED", 1, 0, 0xffffffff);
	threads = argument(argc, argv, 3, "THREADS", 1, 1, 256);

	barrier_init(&barrier);
	me = barrier.me;
	nodes = barrier.nodes;
	actors = nodes * threads;
	box = calloc(actors, REGION);
	regions = calloc(nodes, sizeof *regions);
	thread = calloc(threads, sizeof *thread);
	number = calloc(threads, sizeof *number);
	if (box == NULL || regions == NULL || thread == NULL || number == NULL) {
		fprintf(stderr, "node %u: no memory for %lu actors\n", me, actors);
		return 1;
	}
	seg = check("export regions", rmem_export("regions", box, actors * REGION, RMEM_READ | RMEM_WRITE | RMEM_ATOMIC));
	for (n = 0; n < nodes; n++)
		regions[n] = check("import regions",
				   rmem_import("regions", (unsigned)n, RMEM_READ | RMEM_WRITE | RMEM_ATOMIC, -1));

	for (n = 0; n < threads; n++) {
		int error;
		number[n] = me * threads + n;
		error = pthread_create(&thread[n], NULL, act, &number[n]);
		if (error != 0) {
			fprintf(stderr, "%s: thread %lu: %s\n", argv[0], n, strerror(error));
			return 1;
		}
	}
	for (n = 0; n < threads; n++)
		pthread_join(thread[n], NULL);
	barrier_wait(&barrier);

	for (a = 0; a < actors; a++) {
		unsigned char shadow[REGION] = {0};
		uint64_t stream = start_stream(a);

		for (n = 0; n < operations; n++) {
			struct op op = draw(&stream);
			if (op.node != me)
				continue;
			apply(shadow, &op);
			notified += op.notify && op.len > 0;
		}
		for (n = 0; n < REGION; n++)
			if (box[a * REGION + n] != shadow[n]) {
				fprintf(stderr, "node %u: byte %lu of actor %lu is %02x, not %02x (seed %lu)\n", me, n,
					a, box[a * REGION + n], shadow[n], seed);
				return 1;
			}
	}
	while (seen < notified) {
		check("wait for what was notified", rmem_wait(seg, &event, 10000));
		seen += event.count;
	}
	if (seen != notified) {
		fprintf(stderr, "node %u: %llu notifications, not %llu (seed %lu)\n", me, (unsigned long long)seen,
			(unsigned long long)notified, seed);
		return 1;
	}
	printf("node %u: %lu actors x %lu operations, all right; %llu notifications\n", me, actors, operations,
	       (unsigned long long)notified);
	return 0;
}
