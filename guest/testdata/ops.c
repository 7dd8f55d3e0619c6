/* One function for each instruction that rmem.h can emit: header_test.go compares what each contains with its name. */
#include "rmem.h"

/* Everything crosses a call, so that the compiler has to choose registers rather than fold constants. */
#ifdef __cplusplus
#define OP extern "C" __attribute__((noinline))
#else
#define OP __attribute__((noinline))
#endif

OP unsigned op_node(void) { return rmem_node(); }
OP unsigned op_nodes(void) { return rmem_nodes(); }
OP int op_poll(void) { return rmem_poll(); }
OP void *op_map(rmem_desc d, uint64_t off, size_t len, unsigned rights) { return rmem_map(d, off, len, rights); }
OP int op_unmap(void *p) { return rmem_unmap(p); }
OP rmem_seg op_export(const char *name, void *base, size_t len, unsigned rights)
{
	return rmem_export(name, base, len, rights);
}
OP int op_revoke(rmem_seg s) { return rmem_revoke(s); }
OP int op_inhibit(rmem_seg s, int on) { return rmem_inhibit(s, on); }
OP rmem_desc op_import(const char *name, unsigned node, unsigned rights, int timeout)
{
	return rmem_import(name, node, rights, timeout);
}
OP int op_release(rmem_desc d) { return rmem_release(d); }
OP int op_fence(rmem_desc d) { return rmem_fence(d); }
OP int op_fence_every(void) { return rmem_fence(RMEM_EVERY); }
OP int op_notify(rmem_desc d, uint64_t off) { return rmem_notify(d, off); }
OP int op_wait(rmem_seg s, rmem_event *e, int timeout) { return rmem_wait(s, e, timeout); }
OP int op_cas(rmem_desc d, uint64_t o, uint64_t e, uint64_t v, uint64_t *old) { return rmem_cas(d, o, e, v, old); }
OP int op_fadd(rmem_desc d, uint64_t o, uint64_t v, uint64_t *old) { return rmem_fadd(d, o, v, old); }
OP int op_swap(rmem_desc d, uint64_t o, uint64_t v, uint64_t *old) { return rmem_swap(d, o, v, old); }
OP int op_cas32(rmem_desc d, uint64_t o, uint32_t e, uint32_t v, uint32_t *old) { return rmem_cas32(d, o, e, v, old); }
OP int op_fadd32(rmem_desc d, uint64_t o, uint32_t v, uint32_t *old) { return rmem_fadd32(d, o, v, old); }
OP int op_swap32(rmem_desc d, uint64_t o, uint32_t v, uint32_t *old) { return rmem_swap32(d, o, v, old); }
OP int op_swap_blind(rmem_desc d) { return rmem_swap(d, 0, 0, NULL); }

#define WRITE(name, flags)                                                                                             \
	OP int op_write##name(rmem_desc d, uint64_t off, const void *p, size_t n)                                      \
	{                                                                                                              \
		return rmem_write(d, off, p, n, flags);                                                                \
	}
#define READ(name, flags)                                                                                              \
	OP int op_read##name(rmem_desc d, uint64_t off, void *p, size_t n) { return rmem_read(d, off, p, n, flags); }
WRITE(, 0)
WRITE(_swab16, RMEM_SWAB16)
WRITE(_swab32, RMEM_SWAB32)
WRITE(_swab64, RMEM_SWAB64)
WRITE(_notify, RMEM_NOTIFY)
WRITE(_swab16_notify, RMEM_NOTIFY | RMEM_SWAB16)
WRITE(_swab32_notify, RMEM_NOTIFY | RMEM_SWAB32)
WRITE(_swab64_notify, RMEM_NOTIFY | RMEM_SWAB64)
READ(, 0)
READ(_swab16, RMEM_SWAB16)
READ(_swab32, RMEM_SWAB32)
READ(_swab64, RMEM_SWAB64)
READ(_async, RMEM_ASYNC)
READ(_swab16_async, RMEM_ASYNC | RMEM_SWAB16)
READ(_swab32_async, RMEM_ASYNC | RMEM_SWAB32)
READ(_swab64_async, RMEM_ASYNC | RMEM_SWAB64)

/* The address of the frame is the operand that a compiler would most like to pass in the stack pointer. */
OP int op_write_stack(rmem_desc d)
{
	char frame[40] = {0};
	return rmem_write(d, 0, frame, sizeof frame, 0);
}

/* Flags known at run time alone. */
int flags_write(rmem_desc d, const void *p, size_t n, unsigned flags) { return rmem_write(d, 0, p, n, flags); }
int flags_read(rmem_desc d, void *p, size_t n, unsigned flags) { return rmem_read(d, 0, p, n, flags); }

int main(void) { return (int)op_nodes(); }
