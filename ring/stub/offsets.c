//go:build ignore

// Numbers of layout.h for the assembler and for Go, by way of the compiler's output: generate.sh reads the lines that begin with "->".
#include "layout.h"

#define EMIT(name, value) __asm__ volatile("\n.ascii \"->" name " %c0\"" ::"i"((u64)(value)))
#define FIELD(of, field) \
	EMIT("field " #of "." #field, __builtin_offsetof(struct of, field)); \
	EMIT("size " #of "." #field, sizeof(((struct of *)0)->field))
#define STRUCT(of) EMIT("struct " #of, sizeof(struct of))
#define NUMBER(name) EMIT("number " #name, name)

void offsets(void)
{
	NUMBER(SLOTS);
	NUMBER(MAX_OUTS);
	NUMBER(MAX_INS);
	NUMBER(MAX_RANGES);
	NUMBER(STAGING);
	NUMBER(STAGED_LEAST);
	NUMBER(OUT_FREE);
	NUMBER(OUT_LIVE);
	NUMBER(RIGHT_READ);
	NUMBER(RIGHT_WRITE);
	NUMBER(RIGHT_ATOMIC);
	NUMBER(RIGHT_QUIET);
	NUMBER(BEFORE);
	NUMBER(COMMITTED);
	NUMBER(SERVING);
	NUMBER(AWAITING);
	NUMBER(DONE);
	NUMBER(POLLING);
	NUMBER(FAST);
	NUMBER(SLOW);
	NUMBER(RETREATED);
	NUMBER(FRAME);
	NUMBER(RED_ZONE);
	NUMBER(STACK);

	STRUCT(slot);
	FIELD(slot, word);

	STRUCT(requests);
	FIELD(requests, tail);
	FIELD(requests, pad0);
	FIELD(requests, seen);
	FIELD(requests, pad1);
	FIELD(requests, busy);
	FIELD(requests, pad2);
	FIELD(requests, slots);

	STRUCT(replies);
	FIELD(replies, head);
	FIELD(replies, polling);
	FIELD(replies, pad0);
	FIELD(replies, lock);
	FIELD(replies, polled);
	FIELD(replies, left);
	FIELD(replies, pad1);
	FIELD(replies, pad2);
	FIELD(replies, slots);

	STRUCT(out);
	FIELD(out, handle);
	FIELD(out, state);
	FIELD(out, rights);
	FIELD(out, errors);
	FIELD(out, limit);
	FIELD(out, header0);
	FIELD(out, header1);
	FIELD(out, reply0);
	FIELD(out, reply1);
	FIELD(out, key);
	FIELD(out, node);
	FIELD(out, requests);
	FIELD(out, replies);
	FIELD(out, index);
	FIELD(out, reply_key);
	FIELD(out, pad0);
	FIELD(out, attended);
	FIELD(out, pad1);

	STRUCT(in);
	FIELD(in, state);
	FIELD(in, rights);
	FIELD(in, inhibited);
	FIELD(in, segment);
	FIELD(in, events);
	FIELD(in, node);
	FIELD(in, base);
	FIELD(in, length);
	FIELD(in, header0);
	FIELD(in, header1);
	FIELD(in, reply0);
	FIELD(in, reply1);
	FIELD(in, key);
	FIELD(in, reply_key);
	FIELD(in, requests);
	FIELD(in, replies);
	FIELD(in, pad1);

	STRUCT(staging);
	FIELD(staging, owner);
	FIELD(staging, processor);
	FIELD(staging, pad0);
	FIELD(staging, bytes);

	STRUCT(range);
	FIELD(range, start);
	FIELD(range, end);

	STRUCT(board);
	FIELD(board, bell);
	FIELD(board, threaded);
	FIELD(board, spin);
	FIELD(board, patience);
	FIELD(board, ins_count);
	FIELD(board, fenced);
	FIELD(board, news);
	FIELD(board, dwell);
	FIELD(board, pad1);
	FIELD(board, staging);
	FIELD(board, mapped);
	FIELD(board, pad0);
	FIELD(board, ins);
	FIELD(board, outs);

	STRUCT(frame);
	FIELD(frame, r);
	FIELD(frame, flags);
	FIELD(frame, state);
	FIELD(frame, index);
	FIELD(frame, held);
	FIELD(frame, site);
	FIELD(frame, fast);
	FIELD(frame, slow);
	FIELD(frame, leave);
	FIELD(frame, outcome);
	FIELD(frame, retreat);
	FIELD(frame, resume);
	FIELD(frame, pad);

	STRUCT(site);
	FIELD(site, stub);
	FIELD(site, fast);
	FIELD(site, slow);
	FIELD(site, staged);
	FIELD(site, board);
	FIELD(site, op);
	FIELD(site, flags);
	FIELD(site, width);
	FIELD(site, v);
	FIELD(site, a);
	FIELD(site, p);
	FIELD(site, pad);
}

_Static_assert(sizeof(struct frame) + RED_ZONE <= FRAME, "the frame would reach into the red zone");
