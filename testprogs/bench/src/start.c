/* Prints when it began, by CLOCK_MONOTONIC, in nanoseconds. Linked statically, so that what comes before main is little. */
#include <stdio.h>
#include <time.h>

int main(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	printf("began %lld\n", (long long)t.tv_sec * 1000000000 + t.tv_nsec);
	return 0;
}
