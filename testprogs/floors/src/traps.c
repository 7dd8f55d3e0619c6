/*
 * Floors that are traps: what it costs a program to be stopped by the processor or to enter the kernel, on one CPU, in
 * one process, with a handler that does nothing but step over the instruction.
 *
 *     syscall:0   getppid
 *     sigill:0    UD1, the undefined opcode that remote-memory instructions are made of; SIGILL handler
 *     sigtrap:0   INT3; SIGTRAP handler
 *     sigsegv:0   a load from a page without access; SIGSEGV handler
 */
#include "batch.h"
#include <sys/syscall.h>
#include <ucontext.h>

#ifdef __x86_64__
static volatile int step; /* over so many bytes; INT3 has been passed already */

static void on_trap(int sig, siginfo_t *si, void *context)
{
	(void)sig;
	(void)si;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += step;
}

static void traps(struct item *i, unsigned ms)
{
	if (is(i, "sigill")) {
		step = 8;
		MEASURE(i, ms, __asm__ __volatile__("ud1l 0x12345678(%%rax,%%rax,1), %%eax" : : : "memory"));
	} else if (is(i, "sigtrap")) {
		step = 0;
		MEASURE(i, ms, __asm__ __volatile__("int3" : : : "memory"));
	} else if (is(i, "sigsegv")) {
		void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		step = 2;
		MEASURE(i, ms, __asm__ __volatile__("movb (%%rax), %%al" : : "a"(page) : "memory"));
	} else {
		none(i, "no such item");
	}
}
#else
static void on_trap(int sig, siginfo_t *si, void *context)
{
	(void)sig;
	(void)si;
	(void)context;
}

static void traps(struct item *i, unsigned ms)
{
	(void)ms;
	none(i, "the trap is one of x86-64");
}
#endif

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_NODEFER};
	struct options o;

	options(&o, argc, argv, 0);
	pin(o.cpu[0]);
	sigaction(SIGILL, &action, NULL);
	sigaction(SIGTRAP, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	for (struct item *i = o.item; i < o.item + o.items; i++)
		if (is(i, "syscall"))
			MEASURE(i, o.ms, syscall(SYS_getppid));
		else
			traps(i, o.ms);
	return 0;
}
