// What a guest's stubs share with rmemrun, byte by byte. ring/layout.go is the same in Go; the offsets of both are compared by
// the tests, by way of offsets_amd64.go, which the compiler's own view of this file is written into.
//
//	guest A (initiator)                rmemrun                      guest B (exporter)
//	┌─────────────────────┐                                         ┌─────────────────────┐
//	│ board    read-only  │◀─writes─ node of A   node of B ─writes─▶│ board     read-only │
//	│  outs[]: circuits   │                                         │  ins[]: the same    │
//	│                     │                                         │   circuits' ends    │
//	│ struct requests  rw │──cells──▶ agent, or B itself ◀──────────│ requests  read-only │
//	│ struct replies  ro  │◀─head, cells─ agent, or B itself ──────▶│ replies          rw │
//	└─────────────────────┘                                         └─────────────────────┘
//
// Fields are grouped by who writes them, each group on cache lines of its own. Nobody trusts what another has written: a reader
// copies a slot, checks the copy, and uses the copy.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long i64;

enum {
	LINE = 64,
	SLOTS = 256,     // of a ring; a power of two
	MAX_OUTS = 4096, // circuits with a ring, by the low 16 bits of the descriptor; those above go by the trap
	MAX_INS = 256,
	MAX_RANGES = 8,
	STAGING = 1 << 20,    // bytes of a source that can be staged
	STAGED_LEAST = 41,     // and from how many on: from those that no cell holds
};

// A slot is one cell and what makes it visible: stored last, the low 32 bits of its index + 1. The data of a cell are aligned.
//
//	 0     4   5                  10      12           16                56        58     64
//	+-----+---+------------------+-------+------------+-----------------+---------+------+
//	| seq | 0 | cell header, HEC | SAR   | operation  |     data        | LI, CRC |  0   |
//	+-----+---+------------------+-------+------------+-----------------+---------+------+
//	          \___________________________ the cell, 53 bytes _________/
struct slot {
	u64 word[8];
} __attribute__((aligned(LINE)));

// Written by the initiator's stubs.
struct requests {
	volatile u64 tail; // requests that were claimed
	u8 pad0[LINE - 8];
	volatile u64 seen; // what head was when it was looked at last
	u8 pad1[LINE - 8];
	volatile u8 busy[SLOTS]; // a thread waits for the reply in this slot
	u8 pad2[4096 - 2 * LINE - SLOTS];
	struct slot slots[SLOTS];
};

// Written by who serves the ring: the agent, or the exporter's stubs while it waits.
struct replies {
	volatile u64 head;    // requests that have taken effect or were refused: the acknowledgement of all before; slots say so of single ones
	volatile u32 polling; // a thread of the exporter looks at the ring by itself, and will say so when it stops
	u8 pad0[LINE - 12];
	volatile u32 lock;   // held by who serves the ring: 0 nobody, 1 the agent, 2 the exporter's stub
	volatile u32 polled; // how often poll has looked: so the agent sees that it goes on
	volatile u64 left;   // the index + 1 of the last request that the exporter's stub leaves to the agent; 0: none was
	u8 pad1[LINE - 16];
	u8 pad2[4096 - 2 * LINE];
	struct slot slots[SLOTS]; // the reply to the request of the same index. To posted writes that succeed there is none, but seq of a batch's last is set
};

enum { OUT_FREE, OUT_LIVE };

enum {
	RIGHT_READ = 1,
	RIGHT_WRITE = 2,
	RIGHT_ATOMIC = 4,
	RIGHT_QUIET = 8,
};

// One circuit, at the initiator. Written by rmemrun.
struct out {
	volatile u32 handle; // the descriptor; its low 16 bits are the place in the table
	volatile u32 state;  // OUT_LIVE: by the ring
	u32 rights;
	volatile u32 errors; // refusals that no fence has reported: it has to trap
	u64 limit;           // bytes of the segment that a cell's offset reaches
	u64 header0;         // word 0 of a slot, without seq: header bytes 0 to 2 of the cells sent
	u64 header1;         // word 1, its low 16 bits: header byte 3 and HEC
	u64 reply0;          // the same, of the cells received
	u64 reply1;
	u32 key;  // in requests that have room for it
	u32 node; // the exporter's
	struct requests *requests; // addresses in this guest
	struct replies *replies;
	u32 index;     // of the ring, for who helps
	u32 reply_key; // of the circuit, in replies; in DATA its low 28 bits
	u8 pad0[2 * LINE - 88];
	volatile u32 attended; // the agent looks at the ring; else the bell has to be rung
	u8 pad1[LINE - 4];
} __attribute__((aligned(LINE)));

// The same circuit, at the exporter. Written by rmemrun.
struct in {
	volatile u32 state; // OUT_LIVE: the exporter may serve it by itself
	u32 rights;         // granted to the importer
	volatile u32 inhibited;
	u32 segment;      // handle
	volatile u32 events; // notifications of the segment that wait in the node: the stub leaves further ones to it
	u32 node;         // the importer's
	u64 base;         // address of the segment in this guest
	u64 length;
	u64 header0, header1; // of the cells received
	u64 reply0, reply1;   // of the cells sent
	u32 key;       // in requests
	u32 reply_key; // in replies
	struct requests *requests;
	struct replies *replies;
	u8 pad1[2 * LINE - 96];
} __attribute__((aligned(LINE)));

// Where a stub copies the source of a block write, which traps then: rmemrun takes it from there, which costs less than to read it in the guest. Written by the guest.
// It belongs to one instruction at a time, until that is carried out or the thread is put back to it; others trap as they are.
struct staging {
	volatile u64 owner; // the address of the stub's frame; 0: nobody's
	volatile u32 processor; // that the bytes were copied on
	u8 pad0[4096 - 12];
	u8 bytes[STAGING];
} __attribute__((aligned(LINE)));

// Memory of the guest that rmemrun has mapped, too, since it is exported: what is written from there needs no staging.
struct range {
	volatile u64 start, end; // equal: none
};

// Bit 0 of the bell. The agent sets it before it sleeps, and then looks at all rings once more. So who has published a request, and behind a fence finds
// it clear, need not ring; who finds it set rings until somebody is woken. The other bits are the agent's.
enum { AGENT_SLEEPS = 1 };

struct board {
	volatile u32 *bell;    // the agent sleeps on it; see AGENT_SLEEPS
	volatile u32 threaded; // more than one thread shares this memory: claims are locked instructions
	volatile u32 spin;     // turns of a loop before the processor is given away; 0: at once
	volatile u32 patience; // turns before help is asked for
	volatile u32 ins_count;
	volatile u32 fenced;   // membarrier(2) cannot be used: who looks at attended needs a fence before
	volatile u32 news;     // rings have come or go: whoever looks for requests has to trap once, so that they can be mapped
	volatile u32 dwell;    // turns that a wait looks at rings, before it gives the processor away and then traps
	u32 pad1;
	struct staging *volatile staging; // address in this guest; 0: there is none
	struct range mapped[MAX_RANGES];
	u8 pad0[4096 - 48 - 16 * MAX_RANGES];
	struct in ins[MAX_INS];
	struct out outs[MAX_OUTS];
};

// How far an instruction has come, for who finds the thread in a stub when a signal is to be delivered, or when it has faulted there.
//
//	POLLING ◀──▶ BEFORE ──claim──▶ COMMITTED ──▶ DONE ──▶ (the instruction behind)
//	    ▲           ▲                  │           ▲
//	    │           │                  ▼           │
//	    │           │               AWAITING ──────┘
//	    ▼           ▼                  ▲
//	    └───── SERVING: `resume` ──────┘
enum {
	BEFORE,    // nothing has happened: put the thread back to the instruction. A fault leads to the trap
	COMMITTED, // in the middle, without waiting: let it go on
	SERVING,   // as COMMITTED; a fault gives back the lock that is `held`, and the stub goes on in the state `resume` without that
	AWAITING,  // the request is published: have the ring `index` served, then it is DONE soon
	DONE,      // the result is in the frame: let it go on to the end
	POLLING,   // as BEFORE, but `polling` is set: set `leave`, and it is BEFORE within a turn of its loop
};

// Where a stub keeps the registers, on the guest's stack below the red zone. r15 points to it while C code runs. Vector registers are displaced
// only while the state is COMMITTED, SERVING or AWAITING.
struct frame {
	u64 r[16]; // by their number in the encoding: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15
	u64 flags; // ah of lahf in bits 15..8, al of seto in 7..0
	volatile u32 state;
	volatile u32 index;          // AWAITING: of the ring
	volatile u32 *volatile held; // SERVING: the lock, if there is one
	const struct site *site;
	const void *fast, *slow; // where the exit goes to; who wants the thread out has it go to the label left
	volatile u32 leave;      // set by who wants the thread out: loops that wait and are BEFORE or POLLING give up
	volatile u32 outcome;    // FAST or SLOW, at the exit
	u64 retreat;             // SERVING: sp for who has faulted
	volatile u32 resume;     // SERVING: the state before
	u32 pad;
};

enum {
	RED_ZONE = 128,
	FRAME = 384, // the frame and the red zone: sp is that much lower while a stub runs
	STACK = 2048, // what the C code needs below the frame, at most; less than a page
};

// What a trampoline knows of its instruction.
struct site {
	int (*stub)(struct frame *, const struct site *); // FAST or SLOW
	const void *fast, *slow; // where to go afterwards: behind the instruction, or to the trap
	const void *staged;      // in place of slow: to the trap of an instruction whose source is staged
	const struct board *board;
	u8 op, flags, width, v, a, p;
	u8 pad[2];
};

enum { FAST, SLOW };

// What attempt_x returns in place of what x does.
enum { RETREATED = -1 };
