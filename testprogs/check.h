/* check: the one thing the examples do about an error, which is to say what failed and end. */
#ifndef CHECK_H
#define CHECK_H

#include <rmem.h>
#include <stdio.h>
#include <stdlib.h>

/* Returns result if it is not an error; else says what was attempted and why it failed, and ends the node. */
static inline int32_t check(const char *what, int32_t result)
{
	if (result < 0) {
		fprintf(stderr, "node %u: %s: %s\n", rmem_node(), what, rmem_strerror(result));
		exit(1);
	}
	return result;
}

/* Returns argument n as a number from min to max, or the default if it is not given. */
static inline unsigned long argument(int argc, char **argv, int n, const char *name, unsigned long normally,
				     unsigned long min, unsigned long max)
{
	char *end;
	unsigned long value;

	if (n >= argc)
		return normally;
	value = strtoul(argv[n], &end, 0);
	if (*argv[n] < '0' || *argv[n] > '9' || *end != '\0' || value < min || value > max) {
		fprintf(stderr, "%s: %s must be a number from %lu to %lu, not \"%s\"\n", argv[0], name, min, max,
			argv[n]);
		exit(2);
	}
	return value;
}

#endif
