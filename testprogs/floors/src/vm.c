/*
 * The floor of a kernel that copies: process_vm_writev and process_vm_readv (cross-memory attach, CMA) into and out of a
 * child that sleeps. The target need not take part; the initiator pays a system call and may do anything to the target.
 *
 *     put:BYTES   process_vm_writev           put-asleep:BYTES   the same, each call by itself
 *     get:BYTES   process_vm_readv
 */
#include "batch.h"
#include <sys/uio.h>

static char buffer[MOST], target[MOST];

int main(int argc, char **argv)
{
	struct options o;
	pid_t pid;

	options(&o, argc, argv, 0);
	pin(o.cpu[0]);
	memset(buffer, 1, sizeof buffer);
	memset(target, 2, sizeof target);
	pid = child(o.cpu[1]);
	if (pid == 0) {
		memset(target, 3, sizeof target); /* its own pages, and present */
		for (;;)
			pause();
	}
	sleep_ms(5);
	for (struct item *i = o.item; i < o.item + o.items; i++) {
		struct iovec local = {buffer, i->bytes}, remote = {target, i->bytes};

		if (process_vm_writev(pid, &local, 1, &remote, 1, 0) != (ssize_t)i->bytes) {
			none(i, strerror(errno));
			continue;
		}
		if (is(i, "put"))
			MEASURE(i, o.ms, process_vm_writev(pid, &local, 1, &remote, 1, 0));
		else if (is(i, "get"))
			MEASURE(i, o.ms, process_vm_readv(pid, &local, 1, &remote, 1, 0));
		else if (is(i, "put-asleep"))
			MEASURE_ASLEEP(i, process_vm_writev(pid, &local, 1, &remote, 1, 0));
		else
			none(i, "no such item");
	}
	kill(pid, SIGKILL);
	return 0;
}
