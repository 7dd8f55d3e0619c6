/*
 * hello: the smallest remote write. Each node writes 40 bytes, one cell, into a buffer of the next node, and prints what
 * the node before it wrote into its own.
 *
 *     rmemrun cc -O2 -o hello hello.c && rmemrun -n 2 ./hello
 */
#include "check.h"

static char greeting[40];

int main(void)
{
	unsigned me = rmem_node(), next = (me + 1) % rmem_nodes();
	char message[40] = {0};
	rmem_event event;

	/* Here is a buffer that others may write to. */
	rmem_seg seg = check("export greeting", rmem_export("greeting", greeting, sizeof greeting, RMEM_WRITE));

	/* There is the buffer of the next node. Wait until it is exported. */
	rmem_desc desc = check("import greeting", rmem_import("greeting", next, RMEM_WRITE, -1));

	/* Write to it, and wake its owner. */
	snprintf(message, sizeof message, "hello, node %u, from node %u", next, me);
	check("write", rmem_write(desc, 0, message, sizeof message, RMEM_NOTIFY));

	/* Sleep until somebody has written here. */
	check("wait", rmem_wait(seg, &event, -1));
	printf("node %u: \"%s\"\n", me, greeting);

	/* Do not leave before the own write has arrived, or its error has. */
	check("fence", rmem_fence(desc));
	return 0;
}
