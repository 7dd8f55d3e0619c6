// What it costs, in ns: medians of batches. Figures of two processors depend on where the host has put them.

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

enum { BATCHES = 31 };

static void report(const char *what, double *ns)
{
	qsort(ns, BATCHES, sizeof *ns, by_value);
	printf("%-44s %8.1f min %8.1f median\n", what, ns[0], ns[BATCHES / 2]);
}

// loop is code that executes an instruction as often as r12 says.
static u8 *loop(const struct board *b, u8 op, u8 flags, u8 width)
{
	// site: jmp trampoline; behind: dec %r12; jnz site; jmp *back_fast
	region_used = (region_used + 63) & ~63;
	u8 *site = region + region_used, code[64] = {0xe9, 0, 0, 0, 0, 0x0f, 0x1f, 0x00, 0x49, 0xff, 0xcc, 0x75, 0xf3, 0xff, 0x25, 0, 0, 0, 0};
	u64 back = (u64)back_fast;
	memcpy(code + 19, &back, 8);
	emit(code, sizeof code);
	u8 *t = place(b, op, flags, width, V, A, P, site + 8, back_slow);
	int distance = t - (site + 5);
	memcpy(region_rw + (site - region) + 1, &distance, 4);
	return site;
}

static double timed(struct guest *g, u8 *code, u64 n, u64 v, u64 a, u64 p, u64 c, u64 d)
{
	g->cpu.target = (u64)code;
	g->cpu.in[V] = v, g->cpu.in[A] = a, g->cpu.in[P] = p, g->cpu.in[RCX] = c, g->cpu.in[RDX] = d, g->cpu.in[R12] = n;
	g->cpu.in[RSP] = (u64)g->stack + STACK_SIZE - 1024;
	g->cpu.in_flags = 0x202;
	double t = now();
	run(&g->cpu);
	t = now() - t;
	CHECK(g->cpu.outcome == 0, "trapped after %lu", n - g->cpu.out[R12]);
	return t / n;
}

static volatile int consuming;

// A consumer as quick as can be: it acknowledges what was published.
static void *consume(void *p)
{
	struct circuit *c = p;
	u64 head = c->replies->head;
	while (consuming) {
		u64 from = head;
		while ((u32)c->requests->slots[head % SLOTS].word[0] == (u32)(head + 1) && head - from < 16)
			head++;
		if (head != from)
			c->replies->head = head;
		else
			__builtin_ia32_pause();
	}
	return 0;
}

static void pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

static void bench(u64 n)
{
	struct guest *a = new_guest(), *b = new_guest();
	struct circuit c = connect(a, b, 0);
	a->board->spin = b->board->spin = 100000;
	static u8 source[64];
	double ns[BATCHES];
	u8 *write = loop(a->board, OP_WRITE, 0, 1), *poll = loop(b->board, OP_POLL, 0, 1), *fadd = loop(a->board, OP_FADD, 0, 8), *read = loop(a->board, OP_READ, 0, 1);
	pin(0);

	for (int i = 0; i < BATCHES; i++) {
		volatile u64 *to = (u64 *)c.memory;
		double t = now();
		for (u64 k = 0; k < n; k++) {
			volatile u64 *d = to + (k & 63) * 8;
			d[0] = k, d[1] = k, d[2] = k, d[3] = k, d[4] = k;
		}
		ns[i] = (now() - t) / n;
	}
	report("plain store of 40 bytes, alone", ns);

	static const u64 sizes[] = {40, 36, 32, 8};
	for (int k = 0; k < 4; k++) {
		char what[64];
		for (int i = 0; i < BATCHES; i++) {
			double sum = 0;
			for (u64 done = 0; done < n; done += SLOTS) {
				sum += timed(a, write, SLOTS, (u64)source, 64, c.descriptor, sizes[k], 0) * SLOTS;
				c.replies->head = c.requests->seen = c.requests->tail;
			}
			ns[i] = sum / n;
		}
		sprintf(what, "write of %lu bytes, alone", sizes[k]);
		report(what, ns);
	}

	for (int i = 0; i < BATCHES; i++) {
		double sum = 0;
		for (u64 done = 0; done < n; done += SLOTS) {
			timed(a, write, SLOTS, (u64)source, 64, c.descriptor, 40, 0);
			sum += timed(b, poll, SLOTS / 8, 0, 0, 0, 0, 0) * (SLOTS / 8);
		}
		ns[i] = sum / n;
	}
	CHECK(c.replies->head == c.requests->tail, "not all was served");
	report("service of a write of 40 bytes, alone", ns);

	for (int shared = 0; shared < 2; shared++) {
		pthread_t t;
		struct poller *poller = 0;
		if (shared) {
			poller = start_poller(b);
			cpu_set_t set;
			CPU_ZERO(&set);
			CPU_SET(1, &set);
			pthread_setaffinity_np(poller->thread, sizeof set, &set);
		} else {
			consuming = 1;
			CHECK(pthread_create(&t, 0, consume, &c) == 0, "no thread");
			cpu_set_t set;
			CPU_ZERO(&set);
			CPU_SET(1, &set);
			pthread_setaffinity_np(t, sizeof set, &set);
		}
		for (int i = 0; i < BATCHES; i++)
			ns[i] = timed(a, write, n, (u64)source, 64, c.descriptor, 40, 0);
		report(shared ? "write of 40 bytes, served by poll" : "write of 40 bytes, acknowledged unseen", ns);
		if (shared) {
			for (int i = 0; i < BATCHES; i++)
				ns[i] = timed(a, fadd, n / 50, 1, 64, c.descriptor, 0, 0);
			report("fadd, served by poll", ns);
			for (int i = 0; i < BATCHES; i++)
				ns[i] = timed(a, read, n / 50, (u64)source, 64, c.descriptor, 40, 0);
			report("read of 40 bytes, served by poll", ns);
			end_poller(poller);
		} else {
			consuming = 0;
			pthread_join(t, 0);
		}
	}
}
