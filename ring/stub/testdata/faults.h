// What goes wrong: memory that is not there, rings that nobody serves, cells that lie.

// What the engine does of it: threads that fault go to the label fault, those that ask for help go on when it was given.
static volatile struct fault {
	u64 times, state, held, locked, head, tail;
} fault;
static struct circuit *watched;
static void (*helped)(u32 index);
static volatile u64 helps;

static void on_signal(int signal, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	u64 pc = r[REG_RIP] - (u64)region;
	CHECK(pc < region_used, "signal %d at %llx, address %p", signal, r[REG_RIP], info->si_addr);
	if (signal == SIGILL) {
		CHECK(pc == HELP, "trap at %lx", pc);
		helps++;
		helped(((struct frame *)r[REG_R15])->index);
		r[REG_RIP] += 2;
		return;
	}
	CHECK(pc > SAVED && helped == 0, "fault at %lx, address %p", pc, info->si_addr);
	struct frame *f = (struct frame *)r[REG_R15];
	fault.times++;
	fault.state = f->state;
	fault.held = (u64)f->held;
	fault.locked = watched->replies->lock;
	fault.head = watched->replies->head;
	fault.tail = watched->requests->tail;
	r[REG_RIP] = (u64)region + FAULT;
}

static void catch(struct circuit *c, void (*help)(u32))
{
	struct sigaction s = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	stack_t alternate = {.ss_sp = map(STACK_SIZE), .ss_size = STACK_SIZE};
	sigaltstack(&alternate, 0);
	sigaction(SIGSEGV, &s, 0);
	sigaction(SIGBUS, &s, 0);
	sigaction(SIGILL, &s, 0);
	watched = c;
	helped = help;
	memset((void *)&fault, 0, sizeof fault);
}

enum { PAGE = 4096 };

// page is one page between two that are not there.
static u8 *page(void)
{
	u8 *p = map(3 * PAGE);
	mprotect(p, PAGE, PROT_NONE);
	mprotect(p + 2 * PAGE, PAGE, PROT_NONE);
	return p + PAGE;
}

static void unchanged(struct guest *g, const char *what)
{
	for (int i = 0; i < 16; i++)
		CHECK(g->cpu.out[i] == g->cpu.in[i], "%s: register %d is %lx, was %lx", what, i, g->cpu.out[i], g->cpu.in[i]);
	CHECK(g->cpu.out_flags == g->cpu.in_flags, "%s: flags", what);
}

static void faults(void)
{
	struct guest *a = new_guest(), *b = new_guest();
	a->board->patience = b->board->patience = 100;
	struct circuit c = connect(a, b, 0);
	catch(&c, 0);
	u8 *p = page(), buffer[40] = {0};

	// A source that ends where a page ends is readable; one byte more is not, nor one byte before the page.
	for (u64 n = 1; n <= 40; n++) {
		CHECK(go(a, OP_WRITE, 0, 1, (u64)p + PAGE - n, 0, c.descriptor, n, 0) == 0 && fault.times == 0, "%lu bytes at the end of a page", n);
		CHECK(go(a, OP_WRITE, 0, 1, (u64)p, 0, c.descriptor, n, 0) == 0 && fault.times == 0, "%lu bytes at the beginning of a page", n);
		while (poll_of(b) > 0)
			;
		for (int end = 0; end < 2; end++) {
			u64 tail = c.requests->tail;
			memset((void *)&fault, 0, sizeof fault);
			CHECK(go(a, OP_WRITE, 0, 1, end ? (u64)p + PAGE - n + 1 : (u64)p - 1, 0, c.descriptor, n, 0) == TRAPPED, "no trap");
			CHECK(fault.times == 1 && fault.state == BEFORE && fault.tail == tail && c.requests->tail == tail, "source of %lu bytes: %lu faults, state %lu", n,
			      fault.times, fault.state);
			unchanged(a, "write");
			fault.times = 0;
		}
	}

	// A stack that ends anywhere below the frame.
	u8 *stack = a->stack, *narrow = map(3 * PAGE);
	mprotect(narrow, PAGE, PROT_NONE);
	for (int room = 528; room < PAGE; room += 8) { // run needs 520
		memset((void *)&fault, 0, sizeof fault);
		u64 tail = c.requests->tail, word = room;
		a->stack = narrow + PAGE + room - (STACK_SIZE - 1024);
		i64 r = go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor, 8, 0);
		if (r == TRAPPED) {
			CHECK(fault.times == 1 && fault.state == BEFORE && c.requests->tail == tail, "%d bytes of stack: %lu faults, state %lu", room, fault.times, fault.state);
			unchanged(a, "stack");
		} else {
			CHECK(r == 0 && fault.times == 0 && room >= FRAME + STACK, "%d bytes of stack: %ld, %lu faults", room, r, fault.times);
			while (poll_of(b) > 0)
				;
		}
	}
	a->stack = stack;

	// A segment that its owner has unmapped is left to the agent.
	for (int op = OP_WRITE; op <= OP_SWAP; op++) {
		if (op == OP_READ)
			continue;
		u8 *q = page();
		struct circuit d = connect_at(a, b, q, PAGE, 0);
		munmap(q, PAGE);
		catch(&d, 0);
		d.requests->tail = 0;
		u64 word = 1;
		if (op == OP_WRITE) {
			CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 8, d.descriptor, 8, 0) == 0, "write");
		} else { // nobody answers: what was published is the same
			d.replies->head = 1;
			go(a, op, 0, 8, 1, 8, d.descriptor, 0, 1);
			d.replies->head = 0;
		}
		CHECK(poll_of(b) == 0, "poll has taken in what it cannot reach");
		CHECK(fault.times == 1 && fault.state == SERVING && fault.held == (u64)&d.replies->lock && fault.locked == 2 && fault.head == 0,
		      "operation %d: %lu faults, state %lu, held %lx, lock %lu, head %lu", op, fault.times, fault.state, fault.held, fault.locked, fault.head);
		CHECK(d.replies->lock == 0 && d.replies->head == 0 && d.replies->left == 1, "operation %d: lock %u, head %lu, left %lu", op, d.replies->lock,
		      d.replies->head, d.replies->left);
		CHECK(poll_of(b) == 0 && fault.times == 1, "poll faults again");
		d.in->state = OUT_FREE;
	}

	// A destination that cannot be written.
	struct poller *poller = start_poller(b);
	catch(&c, 0);
	a->board->patience = PATIENCE;
	CHECK(go(a, OP_READ, 0, 1, (u64)p - 100, 0, c.descriptor, 40, 0) == -7, "a read to nowhere");
	CHECK(fault.times == 1 && fault.state == SERVING && fault.held == 0, "state %lu, held %lx", fault.state, fault.held);
	memset((void *)&fault, 0, sizeof fault);
	memcpy(buffer, p + PAGE - 20, 20);
	memset(c.memory, 0xaa, 40);
	CHECK(go(a, OP_READ, 0, 1, (u64)p + PAGE - 20, 0, c.descriptor, 40, 0) == TRAPPED, "a read half to nowhere");
	CHECK(fault.times == 1 && fault.state == BEFORE && memcmp(buffer, p + PAGE - 20, 20) == 0, "state %lu", fault.state);
	unchanged(a, "read");
	end_poller(poller);

	// An event that cannot be stored: the notification stays.
	memset((void *)&fault, 0, sizeof fault);
	CHECK(go(a, OP_NOTIFY, 0, 1, 0, 0, c.descriptor, 0, 0) == 0, "notify");
	u64 head = c.replies->head;
	CHECK(go(b, OP_WAIT, 0, 1, (u64)p - 64, -1, SEGMENT, 0, 0) == TRAPPED && fault.times == 1 && fault.state == BEFORE, "%lu faults, state %lu", fault.times,
	      fault.state);
	CHECK(go(b, OP_WAIT, 0, 1, (u64)p + PAGE - 16, -1, SEGMENT, 0, 0) == TRAPPED, "an event half to nowhere");
	CHECK(c.replies->head == head && !c.replies->polling, "the notification is lost");
	u64 event[4] __attribute__((aligned(32))); // in one page
	c.in->events = 1;
	CHECK(go(b, OP_WAIT, 0, 1, (u64)event, -1, SEGMENT, 0, 0) == TRAPPED && c.replies->head == head, "an event in the node is passed");
	c.in->events = 0;
	CHECK(go(b, OP_WAIT, 0, 1, (u64)event, -1, SEGMENT + 1, 0, 0) == TRAPPED && c.replies->head == head, "a wait for another segment");
	CHECK(go(b, OP_WAIT, 0, 1, (u64)event, -1, SEGMENT, 0, 0) == 0 && c.replies->head == head + 1 && !c.replies->polling, "the event does not come");
	CHECK((u32)c.replies->slots[head % SLOTS].word[0] == (u32)(head + 1), "the slot of the last request does not say that it was served");

	printf("ok\n");
}

static struct circuit *circuit_to_help;

static void serve_by_agent(u32 index)
{
	struct circuit *c = circuit_to_help;
	CHECK(index == c->out->index, "help for ring %u", index);
	c->replies->head = c->requests->tail;
}

static void full(void)
{
	struct guest *a = new_guest(), *b = new_guest();
	a->board->patience = b->board->patience = 50;
	a->board->spin = 10;
	for (u32 threaded = 0; threaded < 2; threaded++) {
		struct circuit c = connect(a, b, 0xffffff80);
		u64 word = 1, start = c.requests->tail;
		a->board->threaded = threaded;
		for (int i = 0; i < SLOTS; i++)
			CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor, 8, 0) == 0, "write %d", i);
		static const u8 ops[] = {OP_WRITE, OP_NOTIFY, OP_READ, OP_CAS, OP_FENCE};
		for (unsigned i = 0; i < sizeof ops; i++) {
			CHECK(go(a, ops[i], 0, ops[i] == OP_CAS ? 8 : 1, (u64)&word, 0, c.descriptor, 8, 0) == TRAPPED, "operation %d on a full ring", ops[i]);
			unchanged(a, "full ring");
			CHECK(c.requests->tail == start + SLOTS, "the tail has moved");
		}
		// A head that lies: behind what it was, or ahead of what was asked for.
		static const i64 lies[] = {-1, -1000, SLOTS + 1, 1 << 20};
		for (int i = 0; i < 4; i++) {
			c.replies->head = start + lies[i];
			c.requests->seen = start;
			CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor, 8, 0) == TRAPPED, "head moved by %ld", lies[i]);
			CHECK(c.requests->tail == start + SLOTS, "the tail has moved");
		}
		c.replies->head = start + 1;
		if (threaded) { // a slot of which the reply was not taken
			c.requests->busy[start % SLOTS] = 1;
			CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor, 8, 0) == TRAPPED, "the slot is busy");
			c.requests->busy[start % SLOTS] = 0;
		}
		CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor, 8, 0) == 0, "there is room for one");
		CHECK(c.requests->tail == start + SLOTS + 1, "the tail has not moved");

		// Errors, and circuits without a ring.
		c.replies->head = c.requests->tail;
		CHECK(go(a, OP_FENCE, 0, 1, 0, 0, c.descriptor, 0, 0) == 0, "fence");
		c.out->errors = 1;
		CHECK(go(a, OP_FENCE, 0, 1, 0, 0, c.descriptor, 0, 0) == TRAPPED, "an error was not reported");
		c.out->errors = 0;
		CHECK(go(a, OP_FENCE, 0, 1, 0, 0, 0x7fffffff, 0, 0) == TRAPPED, "every descriptor");
		CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, LENGTH - 7, c.descriptor, 8, 0) == TRAPPED, "outside");
		CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, -8, c.descriptor, 8, 0) == TRAPPED, "outside");
		CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor, 41, 0) == TRAPPED, "41 bytes");
		CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor, 0, 0) == TRAPPED, "no bytes");
		CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor ^ 0x10000, 8, 0) == TRAPPED, "another descriptor");
		c.out->rights &= ~RIGHT_WRITE;
		CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor, 8, 0) == TRAPPED, "no right");
		c.out->rights |= RIGHT_WRITE | RIGHT_QUIET;
		CHECK(go(a, OP_WRITE, 1, 1, (u64)&word, 0, c.descriptor, 8, 0) == TRAPPED, "quiet");
		CHECK(go(a, OP_NOTIFY, 0, 1, 0, 0, c.descriptor, 0, 0) == TRAPPED, "quiet");
		c.out->rights &= ~RIGHT_QUIET;
		c.out->state = OUT_FREE;
		CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor, 8, 0) == TRAPPED, "no ring");
		c.out->state = OUT_LIVE;

		// Who has published asks for help at the end of its patience.
		catch(&c, serve_by_agent);
		circuit_to_help = &c;
		u64 before = helps;
		CHECK(go(a, OP_FADD, 0, 8, 1, 0, c.descriptor, 0, 0) == -11 && helps == before + 1, "help was asked for %lu times", helps - before);
		a->board->patience = 2, a->board->spin = 0; // also if it asks at once: the head says that there will be no reply
		CHECK(go(a, OP_FADD, 0, 8, 1, 0, c.descriptor, 0, 0) == -11 && helps == before + 2, "help was asked for %lu times", helps - before);
		a->board->patience = 50, a->board->spin = 10;
		if (threaded)
			for (int i = 0; i < SLOTS; i++)
				CHECK(!c.requests->busy[i], "slot %d is busy", i);
	}
	printf("ok\n");
}

// doorbell: who posts wakes the agent if it sleeps, and nobody else does.
static volatile u32 woken, sleeper;

static void *sleep_on(void *p)
{
	(void)p;
	sleeper = gettid();
	syscall(SYS_futex, &bell, FUTEX_WAIT, AGENT_SLEEPS, 0, 0, 0);
	woken = 1;
	return 0;
}

// until_asleep waits until the thread that has said that it is the sleeper sleeps.
static void until_asleep(void)
{
	char name[64], line[256], *end;
	do {
		sched_yield();
		sprintf(name, "/proc/self/task/%u/stat", sleeper);
		FILE *f = sleeper ? fopen(name, "r") : 0;
		if (!f || !fgets(line, sizeof line, f))
			*line = 0;
		if (f)
			fclose(f);
		end = strrchr(line, ')');
	} while (!end || end[2] != 'S');
}

// dwelling: a wait looks for as long as its board says, and the patience of who waits for an answer is no matter.
static struct guest *notifier;
static struct circuit *dwelt;

static void *notify_when_looked_for(void *p)
{
	(void)p;
	while (!dwelt->replies->polling)
		sched_yield();
	CHECK(go(notifier, OP_NOTIFY, 0, 1, 0, 0, dwelt->descriptor, 0, 0) == 0, "notify");
	return 0;
}

static void dwelling(void)
{
	struct guest *a = new_guest(), *b = new_guest();
	struct circuit c = connect(a, b, 0);
	u64 event[4] __attribute__((aligned(32))) = {0};
	b->board->patience = b->board->spin = b->board->dwell = 0;
	CHECK(go(b, OP_WAIT, 0, 1, (u64)event, -1, SEGMENT, 0, 0) == TRAPPED && !c.replies->polling, "there was nothing to wait for");
	CHECK(go(a, OP_NOTIFY, 0, 1, 0, 0, c.descriptor, 0, 0) == 0 && go(b, OP_WAIT, 0, 1, (u64)event, -1, SEGMENT, 0, 0) == 0, "what is there is not taken");
	b->board->dwell = 0xf0000000;
	notifier = a, dwelt = &c;
	pthread_t t;
	CHECK(pthread_create(&t, 0, notify_when_looked_for, 0) == 0, "no thread");
	CHECK(go(b, OP_WAIT, 0, 1, (u64)event, -1, SEGMENT, 0, 0) == 0 && !c.replies->polling, "the wait has given up");
	pthread_join(t, 0);
	printf("ok\n");
}

static void doorbell(void)
{
	for (u32 fenced = 0; fenced < 2; fenced++) {
		struct guest *a = new_guest(), *b = new_guest();
		struct circuit c = connect(a, b, 0);
		u64 word = 1;
		bell = AGENT_SLEEPS;
		a->board->fenced = fenced;
		a->board->patience = 1000;
		pthread_t t;
		woken = 0;
		CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor, 8, 0) == 0, "attended"); // or it would wait for the agent to sleep
		c.out->attended = 0;
		c.replies->polling = 1;
		CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor, 8, 0) == 0, "polling");
		c.replies->polling = 0;
		CHECK(pthread_create(&t, 0, sleep_on, 0) == 0, "no thread");
		catch(&c, serve_by_agent);
		circuit_to_help = &c;
		a->board->patience = PATIENCE;
		CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor, 8, 0) == 0, "write");
		pthread_join(t, 0);
		CHECK(woken, "the agent sleeps");
		// Nobody sleeps and nobody looks: in the end help is asked for.
		a->board->patience = 20;
		u64 before = helps;
		CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor, 8, 0) == 0 && helps == before + 1, "help was asked for %lu times", helps - before);

		// What the exporter leaves to the agent wakes it: a notification that nobody waits for.
		c.out->attended = 1;
		sleeper = 0;
		CHECK(pthread_create(&t, 0, sleep_on, 0) == 0, "no thread");
		until_asleep();
		CHECK(go(a, OP_NOTIFY, 0, 1, 0, 0, c.descriptor, 0, 0) == 0, "notify");
		while (c.replies->left != c.requests->tail)
			poll_of(b);
		pthread_join(t, 0);
		CHECK(c.replies->head == c.requests->tail - 1, "a notification was taken in that nobody waits for");

		// An agent that is awake is not rung for: it will look.
		bell = 0;
		c.out->attended = 0;
		before = helps;
		CHECK(go(a, OP_WRITE, 0, 1, (u64)&word, 0, c.descriptor, 8, 0) == 0 && helps == before, "help was asked for %lu times", helps - before);
	}
	printf("ok\n");
}

// crc10 of bits, one by one (I.363.3: x^10 + x^9 + x^5 + x^4 + x + 1).
static u32 crc10_bits(const u8 *p, int octets)
{
	u32 r = 0;
	for (int i = 0; i < octets * 8; i++) {
		r = r << 1 | (p[i / 8] >> (7 - i % 8) & 1);
		if (r >> 10)
			r ^= 0x633;
	}
	return r;
}

static void put(u8 *p, u64 v, int n)
{
	for (int i = 0; i < n; i++)
		p[i] = v >> 8 * (n - 1 - i);
}

// forge makes a cell that is right by its checksum and whatever else by the octets given.
static void forge(struct slot *s, const struct in *in, u64 index, u32 word, const u8 *message, int li)
{
	u8 *p = (u8 *)s;
	u64 number = index & 0x3fff;
	s->word[0] = in->header0 | (u32)(index + 1);
	s->word[1] = in->header1;
	s->word[7] = 0;
	put(p + 10, 0xc000 | (number & 15) << 10 | number >> 4, 2);
	put(p + 12, word, 4);
	memcpy(p + 16, message, 40);
	put(p + 56, (u64)li << 10, 2);
	put(p + 56, (u64)li << 10 | crc10_bits(p + 10, 48), 2);
}

// refused: who is told that a segment or a circuit has ended asks for help before the guest hears of it, so that its mappings can be taken away first. Other refusals
// are told at once.
enum { STALE = 5, DOWN = 11 }; /* of guest/rmem.h */
static u32 refusal;

static void refuse(u32 index)
{
	struct circuit *c = circuit_to_help;
	u64 at = c->requests->tail - 1;
	u8 message[40] = {0};
	struct in replier = {.header0 = c->out->reply0, .header1 = c->out->reply1};
	CHECK(index == c->out->index, "help for ring %u", index);
	if (c->replies->head > at)
		return;
	put(message, c->out->reply_key, 4);
	forge(&c->replies->slots[at % SLOTS], &replier, at, 8u << 28 | refusal << 19 | (at & 0x3fff), message, 12);
	c->replies->head = at + 1;
}

static void refused(void)
{
	struct guest *a = new_guest(), *b = new_guest();
	struct circuit c = connect(a, b, 0);
	a->board->patience = 2;
	catch(&c, refuse);
	circuit_to_help = &c;
	for (refusal = 1; refusal <= 12; refusal++) {
		u64 before = helps, want = refusal == STALE || refusal == DOWN ? 2 : 1;
		i64 result = go(a, OP_FADD, 0, 8, 1, 0, c.descriptor, 0, 0);
		CHECK(result == -(i64)refusal && helps == before + want, "refusal %u: %ld, help was asked for %lu times, not %lu", refusal, result, helps - before, want);
	}
	printf("ok\n");
}

static volatile int scribbling;

static void *scribble(void *p)
{
	struct circuit *c = p;
	u64 s = 12345;
	while (scribbling) {
		struct slot *slot = &c->requests->slots[c->replies->head % SLOTS];
		s = s * 6364136223846793005 + 1442695040888963407;
		slot->word[s >> 60 & 7] ^= 1ull << (s >> 50 & 63);
	}
	return 0;
}

static void hostile(u64 rounds)
{
	static const struct {
		u64 at, length;
	} segments[] = {{0, PAGE}, {1001, 37}, {PAGE - 64, 64}, {8, 8}, {PAGE - 1, 1}};
	u64 served = 0, flipped = 0;
	struct guest *a = new_guest(), *b = new_guest();
	for (int k = 0; k < 5; k++) {
		u8 *p = page(), kept[PAGE];
		struct circuit c = connect_at(a, b, p + segments[k].at, segments[k].length, rnd());
		struct in *in = c.in;
		catch(&c, 0);
		for (int i = 0; i < PAGE; i++)
			p[i] = kept[i] = rnd();
		for (u64 i = 0; i < rounds / 5; i++) {
			u64 head = c.replies->head, kind = rnd() % 5;
			struct slot *s = &c.requests->slots[head % SLOTS];
			in->rights = rnd() % 4 ? 7 : rnd() % 16;
			in->inhibited = rnd() % 8 == 0;
			u32 op = rnd() % 4 ? 1 + rnd() % 6 : rnd() % 16;
			if (kind == 0) {
				for (int j = 1; j < 8; j++)
					s->word[j] = rnd();
				s->word[0] = rnd() % 2 ? in->header0 | (u32)(head + 1) : (rnd() & ~0xffffffffull) | (u32)(head + 1);
			} else {
				u8 m[40];
				for (int j = 0; j < 40; j++)
					m[j] = rnd();
				if (rnd() % 16)
					put(m, in->key, 4);
				if (op == 3 && rnd() % 8)
					put(m + 4, rnd() % 50, 4);
				u32 offset = rnd() % 2 ? rnd() % (segments[k].length + 8) & -(rnd() % 2 ? 8 : 1) : segments[k].length - rnd() % 50;
				static const u8 lengths[] = {8, 9, 12, 13, 16, 20, 24, 40, 41, 44};
				static const u8 right[] = {0, 43, 20, 12, 24, 16, 12};
				int li = rnd() % 4 == 0 ? rnd() % 64 : rnd() % 2 && op < sizeof right ? right[op] : lengths[rnd() % sizeof lengths];
				forge(s, in, head, op << 28 | (kind == 2) << 27 | (offset & 0x7ffffff), m, li);
			}
			u8 *cell = (u8 *)s;
			int width = ((cell[56] >> 2) - 8) / (op == 4 ? 2 : 1), aligned = op < 4 || op > 6 || width > 0 && (in->base + cell[15]) % width == 0;
			int flip = kind != 0 && rnd() % 4 == 0;
			if (flip) {
				u64 bit = rnd() % 512;
				((u8 *)s)[bit / 8] ^= 1 << bit % 8;
			}
			i64 r = poll_of(b);
			CHECK(r == 0 || r == 1, "poll: %ld", r);
			CHECK(c.replies->head == head + r && c.replies->lock == 0, "head has moved by %ld, not %ld", c.replies->head - head, r);
			CHECK(fault.times == 0, "segment %d: a fault", k);
			CHECK(!flip || r == 0, "a cell with a flipped bit was believed");
			flipped += flip;
			CHECK(!r || kind == 0 || aligned && cell[56] >> 2 >= 8 && cell[56] >> 2 <= 44, "operation %u with LI %d, at %lx", op, cell[56] >> 2, in->base);
			served += r;
			int may = r == 1 && (op <= 2 || op >= 4 && op <= 6) && !in->inhibited && (in->rights & (op <= 2 ? RIGHT_WRITE : RIGHT_ATOMIC));
			for (u64 j = 0; j < PAGE; j++)
				if (p[j] != kept[j]) {
					CHECK(may && j >= segments[k].at && j < segments[k].at + segments[k].length, "segment %d, operation %u: byte %lu has changed", k, op, j);
					kept[j] = p[j];
				}
			c.replies->head = head + 1;
		}

		// Somebody writes there all the time.
		pthread_t t;
		in->rights = 7, in->inhibited = 0;
		scribbling = 1;
		CHECK(pthread_create(&t, 0, scribble, &c) == 0, "no thread");
		for (u64 i = 0; i < rounds / 20; i++) {
			u64 head = c.replies->head;
			u8 m[40];
			put(m, in->key, 4);
			forge(&c.requests->slots[head % SLOTS], in, head, 2u << 28 | rnd() % (segments[k].length + 1), m, 8 + 1 + rnd() % 36);
			i64 r = poll_of(b);
			CHECK(r >= 0 && fault.times == 0, "segment %d: %ld, %lu faults", k, r, fault.times);
			c.replies->head = c.replies->head + 1;
		}
		scribbling = 0;
		pthread_join(t, 0);
		for (u64 j = 0; j < PAGE; j++)
			CHECK(p[j] == kept[j] || j >= segments[k].at && j < segments[k].at + segments[k].length, "segment %d: byte %lu has changed", k, j);
		in->state = OUT_FREE;
	}
	CHECK(served > rounds / 100, "only %lu of %lu were served", served, rounds);
	printf("%lu cells, %lu served, %lu with a flipped bit\n", rounds, served, flipped);
}
