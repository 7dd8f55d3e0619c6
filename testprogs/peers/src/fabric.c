/*
 * A peer: remote memory access of libfabric, between two processes on memory from malloc.
 *
 *     VARIANT   the provider: shm, "tcp;ofi_rxm", net, ...
 *
 *     put:BYTES     fi_writemsg with FI_DELIVERY_COMPLETE and its completion: the data is there
 *     write:BYTES   fi_write and its completion, which may be local: the buffer may be used again
 *     get:BYTES     fi_read and its completion
 *     cas:8         fi_compare_atomicmsg of FI_CSWAP    fadd:8   fi_fetch_atomicmsg of FI_SUM
 *     put-asleep:BYTES write-asleep:BYTES               each by itself, while the target sleeps
 *
 * The target reads its completion queue in a loop, which is how it takes part where that is needed.
 */
#include "batch.h"
#include <rdma/fabric.h>
#include <rdma/fi_atomic.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <sys/wait.h>

enum { SERVE = 1, ASLEEP, END };

/* What the two processes tell each other through memory that they share, besides the fabric. */
struct meeting {
	volatile int phase[2]; /* how far each is */
	volatile int task;     /* of the target */
	char address[2][256];
	size_t length[2];
	uint64_t key[2], base[2];
	char area_ok;
};

static struct meeting *meeting;
static struct options o;
static int me;
static char *area, *message, *result, *compare;
static struct fi_info *info;
static struct fid_domain *domain;
static struct fid_ep *ep;
static struct fid_cq *cq;
static fi_addr_t peer;
static void *local_desc;

static int check(const char *what, long rc)
{
	if (rc < 0) {
		errno = 0;
		die("fabric %s: %s: %s", o.variant, what, fi_strerror((int)-rc));
	}
	return (int)rc;
}

static void progress(void)
{
	struct fi_cq_entry e;

	(void)fi_cq_read(cq, &e, 1);
}

static void meet(void)
{
	int phase = ++meeting->phase[me];

	while (__atomic_load_n(&meeting->phase[1 - me], __ATOMIC_SEQ_CST) < phase)
		if (cq != NULL)
			progress();
}

static void complete(const char *what)
{
	struct fi_cq_entry e;
	ssize_t n;

	while ((n = fi_cq_read(cq, &e, 1)) == -FI_EAGAIN)
		;
	if (n < 0) {
		struct fi_cq_err_entry err = {0};
		fi_cq_readerr(cq, &err, 0);
		check(what, -err.err);
	}
}

/* Posts, and makes progress while there is no room. */
#define POST(what, call)                                                                                               \
	do {                                                                                                           \
		ssize_t rc_;                                                                                           \
		while ((rc_ = (call)) == -FI_EAGAIN)                                                                   \
			progress();                                                                                    \
		check(what, rc_);                                                                                      \
		complete(what);                                                                                        \
	} while (0)

static struct fid_mr *registered(void *memory, uint64_t access, uint64_t key)
{
	struct fid_mr *mr;

	check("fi_mr_reg", fi_mr_reg(domain, memory, MOST, access, 0, key, 0, &mr, NULL));
	return mr;
}

static int open_fabric(void)
{
	struct fi_info *hints = fi_allocinfo();
	struct fi_av_attr av_attr = {.type = FI_AV_UNSPEC};
	struct fi_cq_attr cq_attr = {.format = FI_CQ_FORMAT_CONTEXT, .wait_obj = FI_WAIT_NONE};
	struct fid_fabric *fabric;
	struct fid_av *av;
	struct fid_mr *mr, *buffers;
	int rc;

	hints->ep_attr->type = FI_EP_RDM;
	hints->caps = FI_RMA | FI_ATOMIC;
	hints->fabric_attr->prov_name = strdup(o.variant);
	hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
	hints->domain_attr->threading = FI_THREAD_DOMAIN;
	rc = fi_getinfo(FI_VERSION(1, 14), strcmp(o.variant, "shm") == 0 ? NULL : "127.0.0.1", NULL, 0, hints, &info);
	if (rc != 0)
		return rc;
	check("fi_fabric", fi_fabric(info->fabric_attr, &fabric, NULL));
	check("fi_domain", fi_domain(fabric, info, &domain, NULL));
	check("fi_av_open", fi_av_open(domain, &av_attr, &av, NULL));
	check("fi_cq_open", fi_cq_open(domain, &cq_attr, &cq, NULL));
	check("fi_endpoint", fi_endpoint(domain, info, &ep, NULL));
	check("bind the address vector", fi_ep_bind(ep, &av->fid, 0));
	check("bind the completion queue", fi_ep_bind(ep, &cq->fid, FI_TRANSMIT | FI_RECV));
	check("fi_enable", fi_enable(ep));
	mr = registered(area, FI_REMOTE_READ | FI_REMOTE_WRITE, 1);
	buffers = registered(message, FI_READ | FI_WRITE, 2);
	local_desc = fi_mr_desc(buffers);
	meeting->key[me] = fi_mr_key(mr);
	meeting->base[me] = info->domain_attr->mr_mode & FI_MR_VIRT_ADDR ? (uint64_t)area : 0;
	meeting->length[me] = sizeof meeting->address[me];
	check("fi_getname", fi_getname(&ep->fid, meeting->address[me], &meeting->length[me]));
	meet();
	if (fi_av_insert(av, meeting->address[1 - me], 1, &peer, 0, NULL) != 1)
		check("fi_av_insert", -FI_EINVAL);
	meet();
	return 0;
}

static void put(size_t bytes, uint64_t flags)
{
	struct iovec local = {message, bytes};
	struct fi_rma_iov remote = {meeting->base[1], bytes, meeting->key[1]};
	struct fi_msg_rma m = {.msg_iov = &local, .desc = &local_desc, .iov_count = 1, .addr = peer, .rma_iov = &remote, .rma_iov_count = 1};

	if (flags)
		POST("fi_writemsg", fi_writemsg(ep, &m, flags));
	else
		POST("fi_write", fi_write(ep, message, bytes, local_desc, peer, remote.addr, remote.key, NULL));
}

/* The old value is left in result. */
static void atomic(enum fi_op op, uint64_t operand, uint64_t expected)
{
	struct fi_ioc local = {message, 1}, old = {result, 1}, with = {compare, 1};
	struct fi_rma_ioc remote = {meeting->base[1], 1, meeting->key[1]};
	struct fi_msg_atomic m = {.msg_iov = &local, .desc = &local_desc, .iov_count = 1, .addr = peer, .rma_iov = &remote,
				  .rma_iov_count = 1, .datatype = FI_UINT64, .op = op};

	memcpy(message, &operand, 8);
	memcpy(compare, &expected, 8);
	if (op == FI_CSWAP)
		POST("fi_compare_atomicmsg", fi_compare_atomicmsg(ep, &m, &with, &local_desc, 1, &old, &local_desc, 1, 0));
	else
		POST("fi_fetch_atomicmsg", fi_fetch_atomicmsg(ep, &m, &old, &local_desc, 1, 0));
}

static void measure(const struct item *item)
{
	size_t bytes = item->bytes;
	uint64_t word = 0;

	if (is(item, "put")) {
		MEASURE(item, o.ms, put(bytes, FI_DELIVERY_COMPLETE));
	} else if (is(item, "write")) {
		MEASURE(item, o.ms, put(bytes, 0));
	} else if (is(item, "put-asleep")) {
		MEASURE_ASLEEP(item, put(bytes, FI_DELIVERY_COMPLETE));
	} else if (is(item, "write-asleep")) {
		MEASURE_ASLEEP(item, put(bytes, 0));
	} else if (is(item, "get")) {
		MEASURE(item, o.ms, POST("fi_read", fi_read(ep, message, bytes, local_desc, peer, meeting->base[1], meeting->key[1], NULL)));
	} else if (is(item, "cas") && bytes == 8) {
		MEASURE(item, o.ms, {
			atomic(FI_CSWAP, word + 1, word);
			if (memcmp(result, &word, 8) != 0)
				die("fi_compare_atomicmsg found another value");
			word++;
		});
	} else if (is(item, "fadd") && bytes == 8) {
		MEASURE(item, o.ms, atomic(FI_SUM, 1, 0));
	} else {
		none(item, "no such item");
	}
}

int main(int argc, char **argv)
{
	int rc;
	pid_t pid;

	options(&o, argc, argv, 1);
	meeting = shared(sizeof *meeting);
	pid = child(o.cpu[1]);
	me = pid == 0;
	if (me == 0)
		pin(o.cpu[0]);
	area = calloc(1, MOST);
	message = malloc(MOST); /* registered as one; the atomics use its end */
	if (area == NULL || message == NULL)
		die("no memory");
	memset(message, 1, MOST);
	result = message + MOST - 128;
	compare = message + MOST - 64;
	if (me == 0)
		printf("version libfabric %u.%u\n", FI_MAJOR(fi_version()), FI_MINOR(fi_version()));
	rc = open_fabric();
	if (rc != 0) {
		if (me == 0)
			for (struct item *i = o.item; i < o.item + o.items; i++)
				none(i, fi_strerror(-rc));
		return 0;
	}
	for (struct item *i = o.item; i < o.item + o.items; i++) {
		int asleep = strstr(i->name, "-asleep") != NULL;
		int puts = is(i, "put") || is(i, "write") || asleep;
		memset(area, 0, i->bytes);
		memset(message, 1, i->bytes);
		meet();
		if (me == 0 && puts)
			put(i->bytes, FI_DELIVERY_COMPLETE); /* what is set up at the first time is set up */
		meet();
		if (me == 0)
			measure(i);
		else if (asleep)
			sleep_ms(ASLEEP_MS);
		if (me == 0 && puts)
			put(i->bytes, FI_DELIVERY_COMPLETE); /* the last fi_write has arrived, too */
		meet();
		if (me == 1 && puts && memcmp(area, message, i->bytes) != 0)
			die("%s: not what was written", i->name);
	}
	if (me == 1)
		_exit(0); /* closing takes seconds with some providers */
	waitpid(pid, &rc, 0);
	fflush(stdout);
	_exit(WIFEXITED(rc) ? WEXITSTATUS(rc) : 1);
}
