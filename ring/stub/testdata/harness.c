// Runs the image without rmemrun: harness IMAGE WHAT [NUMBER]. It prints what it has measured or made, and exits with 1 at the first fault.
// Compiled by harness_test.go, which gives it the labels of the image.
#include "machine.h"

enum { SEGMENT = 7, NODE_A = 3, NODE_B = 5, DESCRIPTOR = 0x50011, PATIENCE = 1 << 30 };

static volatile u32 bell;

static struct guest *new_guest(void)
{
	struct guest *g = calloc(1, sizeof *g);
	g->board = map(sizeof(struct board));
	g->board->bell = &bell;
	g->board->patience = PATIENCE;
	g->board->spin = 2; // threads of a test may share a processor
	g->stack = map(STACK_SIZE);
	return g;
}

// same is another thread of a guest.
static struct guest *same(struct guest *g)
{
	struct guest *t = calloc(1, sizeof *t);
	t->board = g->board;
	t->stack = map(STACK_SIZE);
	return t;
}

// A circuit from a to b, to memory of b.
struct circuit {
	struct requests *requests;
	struct replies *replies;
	struct out *out;
	struct in *in;
	u8 *memory;
	u64 descriptor;
};

// header is that of a cell, with the HEC (I.432.1: x^8 + x^2 + x + 1, and 01010101 added), in the words of a slot.
static void header(u32 h, u64 *word0, u64 *word1)
{
	u64 r = (u64)h << 8;
	for (int i = 39; i >= 8; i--)
		if (r >> i & 1)
			r ^= (u64)0x107 << (i - 8);
	u8 b[5] = {h >> 24, h >> 16, h >> 8, h, (u8)(r ^ 0x55)};
	*word0 = (u64)b[0] << 40 | (u64)b[1] << 48 | (u64)b[2] << 56;
	*word1 = b[3] | b[4] << 8;
}

static struct circuit connect_at(struct guest *a, struct guest *b, void *base, u64 length, u64 start)
{
	struct circuit c = {map(sizeof(struct requests)), map(sizeof(struct replies)), 0, 0, base, 0};
	c.requests->tail = c.requests->seen = c.replies->head = start;
	for (u64 i = start; i != start + SLOTS; i++) // as if it had always been used
		c.requests->slots[i % SLOTS].word[0] = c.replies->slots[i % SLOTS].word[0] = (u32)(i - SLOTS + 1);
	int i = b->board->ins_count;
	c.in = &b->board->ins[i];
	c.descriptor = DESCRIPTOR + i;
	c.out = &a->board->outs[c.descriptor & 0xffff];
	struct in *in = c.in;
	struct out *out = c.out;
	header(0x00123450 + i * 16, &in->header0, &in->header1);
	header(0x00654320 + i * 16, &in->reply0, &in->reply1);
	in->state = OUT_LIVE, in->rights = RIGHT_READ | RIGHT_WRITE | RIGHT_ATOMIC, in->segment = SEGMENT, in->node = NODE_A;
	in->base = (u64)base, in->length = length, in->key = 0x89abcdef + i, in->reply_key = 0xfedcba98 - i;
	in->requests = c.requests, in->replies = c.replies;
	out->handle = c.descriptor, out->rights = in->rights, out->limit = length;
	out->header0 = in->header0, out->header1 = in->header1, out->reply0 = in->reply0, out->reply1 = in->reply1;
	out->key = in->key, out->reply_key = in->reply_key, out->node = NODE_B, out->requests = c.requests, out->replies = c.replies;
	out->index = 40 + i, out->attended = 1, out->state = OUT_LIVE;
	b->board->ins_count = i + 1;
	return c;
}

enum { LENGTH = 4096 };

static struct circuit connect(struct guest *a, struct guest *b, u64 start) { return connect_at(a, b, map(LENGTH), LENGTH, start); }

static i64 poll_of(struct guest *g) { return go(g, OP_POLL, 0, 1, 0, 0, 0, 0, 0); }

// A thread that executes poll until it is told to end.
struct poller {
	struct guest *guest;
	pthread_t thread;
	volatile int end, discard;
};

static void *poll_on(void *p)
{
	struct poller *q = p;
	while (!q->end) {
		CHECK(poll_of(q->guest) >= 0, "poll traps");
		for (u32 i = 0; i < q->guest->board->ins_count; i++) { // what an agent would do, with notifications
			struct replies *r = q->guest->board->ins[i].replies;
			if (q->discard && r->left == r->head + 1)
				r->head++;
		}
	}
	return 0;
}

static struct poller *start_poller(struct guest *g)
{
	struct poller *p = calloc(1, sizeof *p);
	p->guest = g;
	poll_of(g); // makes the trampoline
	CHECK(pthread_create(&p->thread, 0, poll_on, p) == 0, "no thread");
	return p;
}

static void end_poller(struct poller *p)
{
	p->end = 1;
	pthread_join(p->thread, 0);
}

// registers: whatever an instruction finds in registers, flags, vector registers and the red zone is there afterwards.
static void registers(u64 rounds)
{
	struct guest *a = new_guest(), *b = new_guest();
	struct circuit c = connect(a, b, 0);
	u32 eax, ebx, ecx, edx;
	__cpuid_count(13, 0, eax, ebx, ecx, edx);
	u64 mask = eax & 0xe7; // x87, SSE, AVX, AVX-512
	u8 *xin = aligned_alloc(64, XSAVE_SIZE), *xout = aligned_alloc(64, XSAVE_SIZE);
	static const u8 ops[] = {OP_WRITE, OP_NOTIFY, OP_READ, OP_CAS, OP_FADD, OP_SWAP, OP_FENCE, OP_POLL};
	u8 kept_state[XSAVE_SIZE]; // what of it xrstor and xsave keep at all
	memset(kept_state, 1, XSAVE_HEADER);
	memset(kept_state + XSAVE_HEADER, 0, XSAVE_SIZE - XSAVE_HEADER);
	*(u32 *)(kept_state + 28) = 0; // the mask of MXCSR
	for (int i = 2; i < 8; i++)
		if (mask >> i & 1) {
			__cpuid_count(13, i, eax, ebx, ecx, edx);
			memset(kept_state + ebx, 1, eax);
		}
	u8 source[64], *at = 0;
	u8 op = 0, width = 1, v = 0, ra = 0, p = 0;
	u64 fast = 0, flags_seen = 0;
	struct poller *poller = start_poller(b); // for operations that have a reply
	poller->discard = 1;
	for (u64 round = 0; round < rounds; round++) {
		if (round % 16 == 0) { // another instruction
			op = ops[rnd() % sizeof ops];
			width = op == OP_WRITE || op == OP_READ ? 1 << rnd() % 4 : op >= OP_CAS && op <= OP_SWAP ? 4 << rnd() % 2 : 1;
			do
				v = rnd() % 16, ra = rnd() % 16, p = rnd() % 16;
			while (v == RSP || ra == RSP || p == RSP || v == RCX || ra == RCX || p == RCX || v == ra || ra == p || p == v ||
			       v == RDX || op >= OP_CAS && op <= OP_SWAP && v == RAX);
			at = place(a->board, op, 0, width, v, ra, p, back_fast, back_slow);
		}
		struct cpu *u = &a->cpu;
		for (int i = 0; i < 16; i++)
			u->in[i] = rnd();
		u64 n = rnd() % 44, offset = rnd() % (LENGTH + 8);
		u->in[RCX] = n;
		u->in[v] = op == OP_WRITE || op == OP_READ ? (u64)source + rnd() % 20 : rnd();
		u->in[ra] = op >= OP_CAS && op <= OP_SWAP ? offset & ~7 : offset;
		u->in[p] = rnd() % 16 ? c.descriptor | (rnd() << 32) : rnd();
		u->in[RSP] = (u64)a->stack + STACK_SIZE - 1024 - rnd() % 64;
		// CF PF AF ZF SF DF OF in all combinations
		static const u8 bits[] = {0, 2, 4, 6, 7, 10, 11};
		u->in_flags = 0x202;
		for (int i = 0; i < 7; i++)
			u->in_flags |= (round >> i & 1) << bits[i];
		flags_seen |= 1ull << (round & 63);
		for (int i = 0; i < XSAVE_SIZE; i += 8)
			*(u64 *)(xin + i) = rnd();
		*(u32 *)(xin + 24) = 0x1f80 | (rnd() & 0x603f); // MXCSR
		memset(xin, 0, 24); // x87: control, with all exceptions masked, status, tags
		*(u64 *)xin = 0x037f;
		for (int i = 0; i < 8; i++) // 10 bytes each
			memset(xin + 32 + 16 * i + 10, 0, 6);
		memset(xin + 464, 0, XSAVE_HEADER_END - 464);
		*(u64 *)(xin + XSAVE_HEADER) = mask;
		memset(xout, 0, XSAVE_SIZE);
		u->xin = xin, u->xout = xout, u->xmask = mask, u->target = (u64)at;
		u8 zone[RED_ZONE];
		for (u64 i = 0; i < RED_ZONE; i++)
			zone[i] = ((u8 *)u->in[RSP])[-1 - (i64)i] = rnd();
		u8 kept[sizeof source];
		for (u64 i = 0; i < sizeof source; i++)
			kept[i] = source[i] = rnd();

		run(u);

		if (u->outcome == 0)
			fast++;
		for (int i = 0; i < 16; i++) {
			if (i == RAX && u->outcome == 0 || i == v && op >= OP_CAS && op <= OP_SWAP && u->outcome == 0)
				continue;
			CHECK(u->out[i] == u->in[i], "round %lu, operation %d: register %d is %lx, was %lx", round, op, i, u->out[i], u->in[i]);
		}
		if (u->outcome == 0)
			CHECK(u->out[RAX] == 0, "round %lu, operation %d: %ld", round, op, u->out[RAX]);
		CHECK(u->out_flags == u->in_flags, "round %lu, operation %d: flags are %lx, were %lx", round, op, u->out_flags, u->in_flags);
		for (u64 i = 0; i < RED_ZONE; i++)
			CHECK(((u8 *)u->in[RSP])[-1 - (i64)i] == zone[i], "round %lu, operation %d: the red zone has changed", round, op);
		if (op != OP_READ)
			CHECK(memcmp(source, kept, sizeof source) == 0, "round %lu, operation %d: the source has changed", round, op);
		for (int i = 0; i < XSAVE_SIZE; i++) {
			if (i >= 416 && i < XSAVE_HEADER_END || !kept_state[i])
				continue;
			CHECK(xout[i] == xin[i], "round %lu, operation %d: byte %d of the vector state is %x, was %x", round, op, i, xout[i], xin[i]);
		}
	}
	end_poller(poller);
	CHECK(fast > rounds / 4, "only %lu of %lu rounds were fast", fast, rounds);
	CHECK(flags_seen == ~0ull || rounds < 64, "not all combinations of flags were there");
	printf("%lu rounds, %lu fast, vector state %lx\n", rounds, fast, mask);
}

// cells: posts requests of all kinds and prints operation, circuit, flags, width, offset, length, operands, the index, and the slot.
static int circuit; // which one it is, by the place at its exporter

static void print_slot(const char *what, u64 flags, u64 width, u64 offset, u64 n, u64 index, const struct slot *s, const u8 *data, u64 size)
{
	printf("%s %d %lu %lu %lu %lu %lu ", what, circuit, flags, width, offset, n, index);
	for (int i = 0; i < 64; i++)
		printf("%02x", ((const u8 *)s)[i]);
	putchar(' ');
	for (u64 i = 0; i < size; i++)
		printf("%02x", data[i]);
	printf(size ? "\n" : "-\n");
}

static void cells(void)
{
	struct guest *a = new_guest(), *b = new_guest();
	static const u64 starts[] = {0, 0x3ff0, 0xfffffff0, -(u64)16};
	static const u64 offsets[] = {0, 1, 4, 0x1234567, (1 << 27) - 40, (1 << 27) - 1};
	for (u64 k = 0; k < 4; k++) {
		// A segment that is as large as offsets go. Nobody touches it.
		void *far = mmap(0, 1ul << 27, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		struct circuit c = connect_at(a, b, far, 1ul << 27, starts[k]);
		struct slot *slots = c.requests->slots;
		circuit = k;
		for (u64 n = 1; n <= 40; n++)
			for (int o = 0; o < 6; o++)
				for (int w = 0; w < 4; w++)
					for (int notify = 0; notify < 2; notify++) {
						u64 offset = offsets[o], width = 1 << w;
						u8 source[40];
						for (u64 i = 0; i < n; i++)
							source[i] = rnd();
						u64 index = c.requests->tail;
						i64 r = go(a, OP_WRITE, notify, width, (u64)source, offset, c.descriptor, n, 0);
						int right = n % width == 0 && offset + n <= 1ul << 27;
						CHECK(r == (right ? 0 : TRAPPED), "write of %lu at %lu: %ld", n, offset, r);
						CHECK(c.requests->tail == index + right, "the tail has moved by %ld", c.requests->tail - index);
						if (right)
							print_slot("write", notify, width, offset, n, index, &slots[index % SLOTS], source, n);
						c.replies->head = c.requests->tail;
					}
		for (int o = 0; o < 6; o++) {
			u64 index = c.requests->tail;
			CHECK(go(a, OP_NOTIFY, 0, 1, 0, offsets[o], c.descriptor, 0, 0) == 0, "notify traps");
			print_slot("notify", 1, 1, offsets[o], 0, index, &slots[index % SLOTS], 0, 0);
			c.replies->head = c.requests->tail;
		}
		// Requests that have a reply: there is none, so the circuit fails. What was sent is looked at.
		for (int o = 0; o < 3; o++)
			for (u64 n = 1; n <= 40; n++) {
				u8 destination[40];
				u64 index = c.requests->tail;
				c.requests->seen = index, c.replies->head = index + 1;
				CHECK(go(a, OP_READ, 0, 1, (u64)destination, offsets[o], c.descriptor, n, 0) == -11, "a reply was believed that is not there");
				print_slot("read", 0, 1, offsets[o], n, index, &slots[index % SLOTS], 0, 0);
			}
		for (u64 op = OP_CAS; op <= OP_SWAP; op++)
			for (u64 width = 4; width <= 8; width += 4)
				for (int notify = 0; notify < 2; notify++) {
					u64 operands[2] = {rnd(), rnd()}, index = c.requests->tail; // V, D
					c.requests->seen = index, c.replies->head = index + 1;
					CHECK(go(a, op, notify, width, operands[0], 4096, c.descriptor, 0, operands[1]) == -11, "a reply was believed that is not there");
					CHECK(a->cpu.out[V] == operands[0], "V has changed, though the atomic has failed");
					print_slot(op == OP_CAS ? "cas" : op == OP_FADD ? "fadd" : "swap", notify, width, 4096, width, index, &slots[index % SLOTS],
					           (u8 *)operands, 16);
				}
		c.in->state = OUT_FREE;
		munmap(far, 1ul << 27);
	}
}

static u64 at(const void *p, int width)
{
	u64 v = 0;
	memcpy(&v, p, width);
	return v;
}

static void reverse_words(u8 *p, u64 n, int width)
{
	for (u64 i = 0; i < n; i += width)
		for (int k = 0; k < width / 2; k++) {
			u8 t = p[i + k];
			p[i + k] = p[i + width - 1 - k], p[i + width - 1 - k] = t;
		}
}

// operations: random ones of one thread, served by another, do what a model of the memory does. The indices begin just below where they wrap.
static void operations(u64 rounds)
{
	static const u64 starts[] = {0, 0xfffffff0, -(u64)700};
	for (int k = 0; k < 3; k++) {
		struct guest *a = new_guest(), *b = new_guest();
		struct circuit c = connect(a, b, starts[k]);
		struct poller *poller = start_poller(b);
		u8 *model = calloc(1, LENGTH);
		u64 posted = 0;
		for (u64 i = 0; i < rounds; i++) {
			u64 n = 1 + rnd() % 40, offset = rnd() % (LENGTH - 40), value = rnd(), expected = rnd();
			int width = 1 << rnd() % 4, wide = 4 << rnd() % 2;
			u8 data[40], model_data[40];
			switch (rnd() % 8) {
			case 0:
			case 1:
			case 2:
				n = n < (u64)width ? (u64)width : n / width * width;
				for (u64 j = 0; j < n; j++)
					data[j] = rnd();
				CHECK(go(a, OP_WRITE, 0, width, (u64)data, offset, c.descriptor, n, 0) == 0, "write");
				reverse_words(data, n, width);
				memcpy(model + offset, data, n);
				posted++;
				break;
			case 3:
				n = n < (u64)width ? (u64)width : n / width * width;
				memset(data, 0xee, 40);
				CHECK(go(a, OP_READ, 0, width, (u64)data, offset, c.descriptor, n, 0) == 0, "read");
				memcpy(model_data, model + offset, n);
				reverse_words(model_data, n, width);
				CHECK(memcmp(data, model_data, n) == 0, "round %lu: read %lu at %lu, width %d", i, n, offset, width);
				for (u64 j = n; j < 40; j++)
					CHECK(data[j] == 0xee, "round %lu: read %lu has changed byte %lu", i, n, j);
				break;
			case 4:
				offset &= ~(u64)(wide - 1);
				if (rnd() % 2)
					expected = at(model + offset, wide);
				CHECK(go(a, OP_CAS, 0, wide, value, offset, c.descriptor, 0, expected) == 0, "cas");
				CHECK(a->cpu.out[V] == at(model + offset, wide), "round %lu: cas has found %lx", i, a->cpu.out[V]);
				if (memcmp(model + offset, &expected, wide) == 0)
					memcpy(model + offset, &value, wide);
				break;
			case 5:
				offset &= ~(u64)(wide - 1);
				CHECK(go(a, OP_FADD, 0, wide, value, offset, c.descriptor, 0, 0) == 0, "fadd");
				CHECK(a->cpu.out[V] == at(model + offset, wide), "round %lu: fadd has found %lx", i, a->cpu.out[V]);
				value += at(model + offset, wide);
				memcpy(model + offset, &value, wide);
				break;
			case 6:
				offset &= ~(u64)(wide - 1);
				CHECK(go(a, OP_SWAP, 0, wide, value, offset, c.descriptor, 0, 0) == 0, "swap");
				CHECK(a->cpu.out[V] == at(model + offset, wide), "round %lu: swap has found %lx", i, a->cpu.out[V]);
				memcpy(model + offset, &value, wide);
				break;
			case 7:
				CHECK(go(a, OP_FENCE, 0, 1, 0, 0, c.descriptor, 0, 0) == 0, "fence");
				CHECK(c.replies->head == c.requests->tail, "round %lu: the fence has not waited", i);
				CHECK(memcmp(model, c.memory, LENGTH) == 0, "round %lu: what was fenced is not there", i);
			}
		}
		CHECK(go(a, OP_FENCE, 0, 1, 0, 0, c.descriptor, 0, 0) == 0, "fence");
		CHECK(memcmp(model, c.memory, LENGTH) == 0, "the memories differ");
		end_poller(poller);
		printf("from %lx: %lu operations, %lu posted, now at %lx\n", starts[k], rounds, posted, c.requests->tail);
	}
}

// threads: four threads of a guest share a ring; nothing is lost or done twice.
enum { THREADS = 4 };

struct job {
	struct guest *guest;
	struct circuit *circuit;
	u64 rounds, me;
	pthread_t thread;
};

static void *work(void *p)
{
	struct job *j = p;
	u64 last = 0;
	for (u64 i = 1; i <= j->rounds; i++) {
		u64 slot = 64 + 8 * j->me;
		CHECK(go(j->guest, OP_WRITE, 0, 1, (u64)&i, slot, j->circuit->descriptor, 8, 0) == 0, "write");
		CHECK(go(j->guest, OP_FADD, 0, 8, 1, 0, j->circuit->descriptor, 0, 0) == 0, "fadd");
		u64 found = j->guest->cpu.out[V];
		CHECK(i == 1 || found > last, "thread %lu: the sum was %lu, after %lu", j->me, found, last);
		last = found;
		u64 mine = 0;
		CHECK(go(j->guest, OP_READ, 0, 1, (u64)&mine, slot, j->circuit->descriptor, 8, 0) == 0, "read");
		CHECK(mine == i, "thread %lu has written %lu and read %lu", j->me, i, mine);
		for (int k = 0; k < 40; k++) // fills the ring
			CHECK(go(j->guest, OP_WRITE, 0, 1, (u64)&i, slot + 64, j->circuit->descriptor, 8, 0) == 0, "write");
	}
	return 0;
}

static void threads(u64 rounds)
{
	struct guest *a = new_guest(), *b = new_guest();
	a->board->threaded = 1;
	struct circuit c = connect(a, b, 0xffffff00);
	struct job jobs[THREADS];
	for (int i = 0; i < THREADS; i++) {
		jobs[i] = (struct job){same(a), &c, rounds, i, 0};
		jobs[i].guest->at[OP_WRITE][0][0] = place(a->board, OP_WRITE, 0, 1, V, A, P, back_fast, back_slow);
		jobs[i].guest->at[OP_READ][0][0] = place(a->board, OP_READ, 0, 1, V, A, P, back_fast, back_slow);
		jobs[i].guest->at[OP_FADD][3][0] = place(a->board, OP_FADD, 0, 8, V, A, P, back_fast, back_slow);
	}
	struct poller *poller = start_poller(b);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&jobs[i].thread, 0, work, &jobs[i]) == 0, "no thread");
	for (int i = 0; i < THREADS; i++)
		pthread_join(jobs[i].thread, 0);
	CHECK(go(a, OP_FENCE, 0, 1, 0, 0, c.descriptor, 0, 0) == 0, "fence");
	CHECK(at(c.memory, 8) == THREADS * rounds, "the sum is %lu", at(c.memory, 8));
	for (int i = 0; i < SLOTS; i++)
		CHECK(!c.requests->busy[i], "slot %d is busy", i);
	end_poller(poller);
	printf("%d threads, %lu requests\n", THREADS, c.requests->tail - 0xffffff00);
}

// waits: two guests send each other writes that notify, and wait for them.
struct side {
	struct guest *guest;
	struct circuit *out, *in;
	u64 rounds;
	u32 node;
	int first;
	pthread_t thread;
};

static void wait_event(struct side *s, u64 round)
{
	struct {
		u32 node, op;
		u64 offset, length, count;
	} e = {0, 0, 0, 0, 0};
	i64 r;
	int traps = 0;
	while ((r = go(s->guest, OP_WAIT, 0, 1, (u64)&e, (u64)-1, SEGMENT, 0, 0)) == TRAPPED)
		CHECK(++traps < 1000, "wait traps");
	CHECK(r == 0, "wait: %ld", r);
	CHECK(e.node == NODE_A && e.op == (round % 3 == 0 ? 12 : round % 3 == 1 ? 6 : 9) && e.offset == 8 * (round % 10) && e.length == (round % 3 ? 8 : 0) && e.count == 1,
	      "round %lu: event of node %u, operation %u, %lu bytes at %lu, %lu times", round, e.node, e.op, e.length, e.offset, e.count);
	if (round % 3 == 1)
		CHECK(at(s->in->memory + e.offset, 8) == round, "round %lu: %lu is there", round, at(s->in->memory + e.offset, 8));
}

static void *play(void *p)
{
	struct side *s = p;
	for (u64 i = 0; i < s->rounds; i++) {
		if (!s->first)
			wait_event(s, i);
		i64 r;
		if (i % 3 == 0)
			r = go(s->guest, OP_NOTIFY, 0, 1, 0, 8 * (i % 10), s->out->descriptor, 0, 0);
		else if (i % 3 == 1)
			r = go(s->guest, OP_WRITE, 1, 1, (u64)&i, 8 * (i % 10), s->out->descriptor, 8, 0);
		else
			r = go(s->guest, OP_FADD, 1, 8, 1, 8 * (i % 10), s->out->descriptor, 0, 0);
		CHECK(r == 0, "round %lu: %ld", i, r);
		if (s->first)
			wait_event(s, i);
	}
	return 0;
}

static void waits(u64 rounds)
{
	struct guest *a = new_guest(), *b = new_guest();
	struct circuit there = connect(a, b, 0), back = connect(b, a, -(u64)100);
	struct side sides[2] = {{a, &there, &back, rounds, 0, 1, 0}, {b, &back, &there, rounds, 0, 0, 0}};
	for (int i = 0; i < 2; i++) {
		struct guest *g = sides[i].guest;
		g->at[OP_WAIT][0][0] = place(g->board, OP_WAIT, 0, 1, V, A, P, back_fast, back_slow);
		g->at[OP_NOTIFY][0][0] = place(g->board, OP_NOTIFY, 0, 1, V, A, P, back_fast, back_slow);
		g->at[OP_WRITE][0][1] = place(g->board, OP_WRITE, 1, 1, V, A, P, back_fast, back_slow);
		g->at[OP_FADD][3][1] = place(g->board, OP_FADD, 1, 8, V, A, P, back_fast, back_slow);
	}
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&sides[i].thread, 0, play, &sides[i]) == 0, "no thread");
	for (int i = 0; i < 2; i++)
		pthread_join(sides[i].thread, 0);
	CHECK(!there.replies->polling && !back.replies->polling, "polling is still set");
	printf("%lu rounds\n", rounds);
}

#include "faults.h"
#include "bench.h"

int main(int argc, char **argv)
{
	CHECK(argc >= 3, "usage: harness IMAGE WHAT [NUMBER]");
	load(argv[1]);
	alarm(60); // whatever hangs ends
	u64 n = argc > 3 ? strtoul(argv[3], 0, 0) : 0;
	if (argc > 4)
		seed = strtoul(argv[4], 0, 0);
	const char *what = argv[2];
	if (!strcmp(what, "registers"))
		registers(n);
	else if (!strcmp(what, "cells"))
		cells();
	else if (!strcmp(what, "operations"))
		operations(n);
	else if (!strcmp(what, "threads"))
		threads(n);
	else if (!strcmp(what, "waits"))
		waits(n);
	else if (!strcmp(what, "hostile"))
		hostile(n);
	else if (!strcmp(what, "faults"))
		faults();
	else if (!strcmp(what, "full"))
		full();
	else if (!strcmp(what, "bell"))
		doorbell();
	else if (!strcmp(what, "refused"))
		refused();
	else if (!strcmp(what, "dwelling"))
		dwelling();
	else if (!strcmp(what, "bench"))
		bench(n);
	else
		CHECK(0, "what is %s?", what);
	return 0;
}
