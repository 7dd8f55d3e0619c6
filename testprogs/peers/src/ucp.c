/*
 * A peer: UCP, the upper layer of UCX, between two processes. UCX_TLS in the environment says which transports it may use.
 *
 *     VARIANT   malloc: memory of the program, registered; mapped: memory that UCX allocates
 *
 *     put:BYTES   ucp_put_nbx, ucp_ep_flush_nbx    put-asleep:BYTES   the same, each by itself, while the target sleeps
 *     get:BYTES   ucp_get_nbx and its completion
 *     cas:8       ucp_atomic_op_nbx of CSWAP       fadd:8             ucp_atomic_op_nbx of ADD, with the old value
 *
 * The target calls ucp_worker_progress in a loop, which is how it takes part where that is needed.
 */
#include "batch.h"
#include <sys/wait.h>
#include <ucp/api/ucp.h>

struct meeting {
	volatile int phase[2]; /* how far each is */
	char address[4096], rkey[4096]; /* of the target */
	size_t address_length, rkey_length;
	uint64_t base;
};

static struct meeting *meeting;
static struct options o;
static int me;
static char *area, *message;
static ucp_worker_h worker;
static ucp_ep_h ep;
static ucp_rkey_h rkey;

static void check(const char *what, ucs_status_t status)
{
	if (status != UCS_OK) {
		errno = 0;
		die("ucp: %s: %s", what, ucs_status_string(status));
	}
}

static void meet(void)
{
	int phase = ++meeting->phase[me];

	while (__atomic_load_n(&meeting->phase[1 - me], __ATOMIC_SEQ_CST) < phase)
		ucp_worker_progress(worker);
}

static void complete(const char *what, ucs_status_ptr_t request)
{
	ucs_status_t status;

	if (!UCS_PTR_IS_PTR(request)) {
		check(what, UCS_PTR_STATUS(request));
		return;
	}
	while ((status = ucp_request_check_status(request)) == UCS_INPROGRESS)
		ucp_worker_progress(worker);
	ucp_request_free(request);
	check(what, status);
}

static void open_ucp(void)
{
	ucp_params_t p = {.field_mask = UCP_PARAM_FIELD_FEATURES, .features = UCP_FEATURE_RMA | UCP_FEATURE_AMO64};
	ucp_worker_params_t w = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE, .thread_mode = UCS_THREAD_MODE_SINGLE};
	ucp_mem_map_params_t m = {.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH | UCP_MEM_MAP_PARAM_FIELD_FLAGS,
				  .length = MOST};
	ucp_mem_attr_t attr = {.field_mask = UCP_MEM_ATTR_FIELD_ADDRESS};
	ucp_config_t *config;
	ucp_context_h context;
	ucp_mem_h mem;
	ucp_address_t *address;
	void *packed;
	size_t length;

	check("ucp_config_read", ucp_config_read(NULL, NULL, &config));
	check("ucp_init", ucp_init(&p, config, &context));
	check("ucp_worker_create", ucp_worker_create(context, &w, &worker));
	if (strcmp(o.variant, "malloc") == 0) {
		m.address = area = malloc(MOST);
		m.flags = 0;
	} else {
		m.flags = UCP_MEM_MAP_ALLOCATE;
	}
	check("ucp_mem_map", ucp_mem_map(context, &m, &mem));
	check("ucp_mem_query", ucp_mem_query(mem, &attr));
	area = attr.address;
	memset(area, 0, MOST);
	if (me == 1) {
		check("ucp_worker_get_address", ucp_worker_get_address(worker, &address, &length));
		meeting->address_length = length;
		if (length > sizeof meeting->address)
			die("the address is long");
		memcpy(meeting->address, address, length);
		check("ucp_rkey_pack", ucp_rkey_pack(context, mem, &packed, &length));
		meeting->rkey_length = length;
		if (length > sizeof meeting->rkey)
			die("the key is long");
		memcpy(meeting->rkey, packed, length);
		meeting->base = (uint64_t)area;
	}
	meet();
	if (me == 0) {
		ucp_ep_params_t e = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS, .address = (ucp_address_t *)meeting->address};
		check("ucp_ep_create", ucp_ep_create(worker, &e, &ep));
		check("ucp_ep_rkey_unpack", ucp_ep_rkey_unpack(ep, meeting->rkey, &rkey));
	}
	meet();
}

static void put(size_t bytes)
{
	ucp_request_param_t p = {0};
	ucs_status_ptr_t posted = ucp_put_nbx(ep, message, bytes, meeting->base, rkey, &p);

	complete("ucp_ep_flush_nbx", ucp_ep_flush_nbx(ep, &p));
	complete("ucp_put_nbx", posted);
}

/* The old value comes into old. */
static void atomic(ucp_atomic_op_t op, uint64_t operand, uint64_t *old)
{
	ucp_request_param_t p = {.op_attr_mask = UCP_OP_ATTR_FIELD_DATATYPE | UCP_OP_ATTR_FIELD_REPLY_BUFFER,
				 .datatype = ucp_dt_make_contig(8), .reply_buffer = old};

	complete("ucp_atomic_op_nbx", ucp_atomic_op_nbx(ep, op, &operand, 1, meeting->base, rkey, &p));
}

static void measure(const struct item *item)
{
	static uint64_t word, swap;
	ucp_request_param_t p = {0};

	if (is(item, "put")) {
		MEASURE(item, o.ms, put(item->bytes));
	} else if (is(item, "put-asleep")) {
		MEASURE_ASLEEP(item, put(item->bytes));
	} else if (is(item, "get")) {
		MEASURE(item, o.ms, complete("ucp_get_nbx", ucp_get_nbx(ep, message, item->bytes, meeting->base, rkey, &p)));
	} else if (is(item, "cas") && item->bytes == 8) {
		word = 0;
		MEASURE(item, o.ms, {
			swap = word + 1; /* CSWAP: the operand is what is expected, the reply buffer holds the new value */
			atomic(UCP_ATOMIC_OP_CSWAP, word, &swap);
			if (swap != word++)
				die("CSWAP found %llu", (unsigned long long)swap);
		});
	} else if (is(item, "fadd") && item->bytes == 8) {
		MEASURE(item, o.ms, atomic(UCP_ATOMIC_OP_ADD, 1, &swap));
	} else {
		none(item, "no such item");
	}
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	options(&o, argc, argv, 1);
	meeting = shared(sizeof *meeting);
	pid = child(o.cpu[1]);
	me = pid == 0;
	if (me == 0)
		pin(o.cpu[0]);
	message = malloc(MOST);
	if (message == NULL)
		die("no memory");
	if (me == 0)
		printf("version UCX %s\n", ucp_get_version_string());
	open_ucp();
	for (struct item *i = o.item; i < o.item + o.items; i++) {
		int asleep = is(i, "put-asleep"), puts = asleep || is(i, "put");
		memset(area, 0, i->bytes);
		memset(message, 1, i->bytes);
		meet();
		if (me == 0 && puts)
			put(i->bytes); /* what is set up at the first time is set up */
		meet();
		if (me == 0)
			measure(i);
		else if (asleep)
			sleep_ms(ASLEEP_MS);
		meet();
		if (me == 1 && puts && memcmp(area, message, i->bytes) != 0)
			die("%s: not what was written", i->name);
	}
	if (me == 1)
		_exit(0);
	waitpid(pid, &status, 0);
	fflush(stdout);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}
