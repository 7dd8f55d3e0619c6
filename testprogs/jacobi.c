/*
 * jacobi [SIZE [STEPS]]: the heat equation on a square plate, by Jacobi's method, on all nodes.
 *
 * Each node has a strip of rows. In every step a point becomes the mean of its four neighbours, so a node needs the last
 * row of the strip above and the first row of the strip below, as they were after the step before. Whoever has them
 * writes them, when they are ready, into the halo of whoever needs them, and then, through the same descriptor, the
 * number of the step, which wakes its owner. There are two halos, used in turn: a neighbour is at most one step ahead.
 *
 * At the end every node writes its strip into the memory of node 0, which computes the plate alone and compares: the
 * results must be equal to the bit.
 */
#include "barrier.h"
#include <string.h>

enum side { ABOVE, BELOW };

static size_t size, width; /* points inside the plate, and with its edges */
static rmem_seg halo_seg;
static uint64_t *halo;         /* exported; see step_at and row_at */
static rmem_desc neighbour[2]; /* their halos; < 0: the edge of the plate */

/* The halo: two step numbers, one for each side, then a row for each side and parity of the step. */
static size_t step_at(enum side s) { return s * sizeof(uint64_t); }
static size_t row_at(enum side s, uint64_t step)
{
	return 2 * sizeof(uint64_t) + (2 * (step % 2) + s) * width * sizeof(double);
}
static size_t halo_size(void) { return 2 * sizeof(uint64_t) + 4 * width * sizeof(double); }

/* One row of one step. Not inlined: strip and plate go through the same machine code, to the last rounding. */
__attribute__((noinline)) static void relax(double *to, const double *up, const double *row, const double *down)
{
	size_t i;

	for (i = 1; i <= size; i++)
		to[i] = 0.25 * (up[i] + down[i] + row[i - 1] + row[i + 1]);
}

/* One step of `rows` rows; the first and the last row of both arrays are not computed. */
static void step_rows(double *to, const double *from, size_t rows)
{
	size_t r;

	for (r = 1; r <= rows; r++)
		relax(to + r * width, from + (r - 1) * width, from + r * width, from + (r + 1) * width);
}

/* A plate, or strip, of rows rows and its edges: cold, but for the edge above if that is hot. */
static double *plate(size_t rows, int hot)
{
	double *p = calloc((rows + 2) * width, sizeof *p);
	size_t i;

	if (p == NULL) {
		fprintf(stderr, "node %u: no memory for %zu rows\n", rmem_node(), rows);
		exit(1);
	}
	for (i = 0; hot && i < width; i++)
		p[i] = 100;
	return p;
}

/* Gives a neighbour the row of this strip that it needs for a step. */
static void send_row(enum side to, const double *row, uint64_t step)
{
	/* What is above for this node is below for the node above. */
	enum side there = to == ABOVE ? BELOW : ABOVE;

	if (neighbour[to] < 0)
		return;
	check("write a row", rmem_write(neighbour[to], row_at(there, step), row, width * sizeof *row, 0));
	check("write a step", rmem_write(neighbour[to], step_at(there), &step, sizeof step, RMEM_NOTIFY));
}

/* Takes the row that a neighbour has sent for a step. */
static void receive_row(enum side from, double *row, uint64_t step)
{
	rmem_event event;

	if (neighbour[from] < 0)
		return;
	while (__atomic_load_n(&halo[from], __ATOMIC_ACQUIRE) < step)
		check("wait for a row", rmem_wait(halo_seg, &event, -1));
	memcpy(row, (char *)halo + row_at(from, step), width * sizeof *row);
}

/* The first row that node n has, from 0. */
static size_t first_row(unsigned n, unsigned nodes) { return size * n / nodes; }

int main(int argc, char **argv)
{
	uint64_t steps, step;
	struct barrier barrier;
	double *from, *to, *swap, *result = NULL;
	size_t first, rows;
	unsigned me, nodes;
	rmem_desc collect;

	size = argument(argc, argv, 1, "SIZE", 64, 1, 10000);
	steps = argument(argc, argv, 2, "STEPS", 500, 0, 1000000);
	width = size + 2;
	me = rmem_node();
	nodes = rmem_nodes();
	if (size < nodes) {
		fprintf(stderr, "%s: %zu rows are too few for %u nodes\n", argv[0], size, nodes);
		return 2;
	}
	first = first_row(me, nodes);
	rows = first_row(me + 1, nodes) - first;
	from = plate(rows, me == 0);
	to = plate(rows, me == 0);

	halo = calloc(1, halo_size());
	if (halo == NULL) {
		fprintf(stderr, "node %u: no memory for a halo\n", me);
		return 1;
	}
	halo_seg = check("export halo", rmem_export("halo", halo, halo_size(), RMEM_WRITE));
	neighbour[ABOVE] = me == 0 ? -1 : check("import halo", rmem_import("halo", me - 1, RMEM_WRITE, -1));
	neighbour[BELOW] = me == nodes - 1 ? -1 : check("import halo", rmem_import("halo", me + 1, RMEM_WRITE, -1));
	barrier_init(&barrier);
	if (me == 0) {
		result = plate(size, 1);
		check("export result", rmem_export("result", result, (size + 2) * width * sizeof *result, RMEM_WRITE));
	}
	collect = check("import result", rmem_import("result", 0, RMEM_WRITE, -1));

	for (step = 1; step <= steps; step++) {
		send_row(ABOVE, from + width, step);
		send_row(BELOW, from + rows * width, step);
		receive_row(ABOVE, from, step);
		receive_row(BELOW, from + (rows + 1) * width, step);
		step_rows(to, from, rows);
		swap = from, from = to, to = swap;
	}

	check("write the result", rmem_write(collect, (first + 1) * width * sizeof *from, from + width,
					     rows * width * sizeof *from, 0));
	barrier_wait(&barrier);
	if (me != 0)
		return 0;

	from = plate(size, 1);
	to = plate(size, 1);
	for (step = 1; step <= steps; step++) {
		step_rows(to, from, size);
		swap = from, from = to, to = swap;
	}
	if (memcmp(from, result, (size + 2) * width * sizeof *from) != 0) {
		fprintf(stderr, "node 0: %u nodes together got another result than one alone\n", nodes);
		return 1;
	}
	printf("%zu x %zu points, %llu steps, %u nodes: equal to one node alone, to the bit; %.6f in the middle\n", size,
	       size, (unsigned long long)steps, nodes, result[(size + 1) / 2 * width + (size + 1) / 2]);
	return 0;
}
