// Cells as docs/protocol.md has them, in the words of a slot. Words are as the processor loads them: the first octet is the lowest.
//
//	word  0               1                         2 ... 6              7
//	     +-----+---+-----+------+-----+-----------+--------------------+---------+---+
//	     | seq | 0 |  header    | SAR | operation |  key, data         | LI, CRC | 0 |
//	     +-----+---+-----+------+-----+-----------+--------------------+---------+---+
//	bits  0    32  40    0      16    32            0 ... 319             0       16
#pragma once
#include "memory.h"

register struct frame *frame __asm__("r15");

// Operations of a cell.
enum {
	WRITE = 1,
	WRITE_SHORT,
	READ,
	CAS,
	FADD,
	SWAP,
	NOTIFY,
	ACK,
	REPLY_DATA,
	OLD,
};

enum {
	OP_SHIFT = 28,
	STATUS_SHIFT = 19,
	NOTIFY_BIT = 1 << 27,
	OFFSET_MASK = NOTIFY_BIT - 1,
	DATA_KEY_MASK = (1 << OP_SHIFT) - 1, // what a DATA carries of the key

	WORD = 4,      // octets of the operation word
	KEY = 4,       // octets of the key
	MAX_DATA = 40, // without a key
	MAX_SHORT = MAX_DATA - KEY,
	MIN_DATA = 4, // of a DATA
	MIN_MESSAGE = 8,
	MAX_MESSAGE = 44,
	CREDIT = 4, // octets of data in an ACK

	SSM = 3 << 14,
	NUMBER_MASK = (1 << 14) - 1,
	LI_SHIFT = 10,
	CRC_MASK = (1 << LI_SHIFT) - 1,
};

struct pair {
	u64 low, high;
} __attribute__((aligned(16)));

extern const struct pair crc10_reverse, crc10_powers[3], crc10_barrett __attribute__((visibility("hidden")));

// crc10 is the remainder of a cell's payload with the CRC-10 taken as 0: of the words 1, without the header, to 6, and of LI. A word that ends n
// bits before the end is multiplied by the remainder of x^n, without carries; the sum, of 127 bits, is divided by Barrett's method. Whoever calls it
// is not BEFORE: who puts a thread back to its instruction knows nothing of the vector registers.
INLINE u32 crc10(u64 word1, const u64 d[DATA], u64 li)
{
	u64 r;
	struct pair kept[3]; // aligned, for the guest may have the processor check that (the flag AC)
	__asm__ volatile(
		"movaps %%xmm0, %[x0]\n\t"
		"movaps %%xmm1, %[x1]\n\t"
		"movaps %%xmm2, %[x2]\n\t"

		"movq %[w1], %%xmm2\n\t"
		"movq %[w2], %%xmm1\n\t"
		"punpcklqdq %%xmm1, %%xmm2\n\t"
		"pshufb %[reverse], %%xmm2\n\t"
		"movdqa %%xmm2, %%xmm1\n\t"
		"pclmulqdq $0x00, %[p0], %%xmm2\n\t"
		"pclmulqdq $0x11, %[p0], %%xmm1\n\t"
		"pxor %%xmm1, %%xmm2\n\t"

		"movq %[w3], %%xmm0\n\t"
		"movq %[w4], %%xmm1\n\t"
		"punpcklqdq %%xmm1, %%xmm0\n\t"
		"pshufb %[reverse], %%xmm0\n\t"
		"movdqa %%xmm0, %%xmm1\n\t"
		"pclmulqdq $0x00, %[p1], %%xmm0\n\t"
		"pclmulqdq $0x11, %[p1], %%xmm1\n\t"
		"pxor %%xmm0, %%xmm2\n\t"
		"pxor %%xmm1, %%xmm2\n\t"

		"movq %[w5], %%xmm0\n\t"
		"movq %[w6], %%xmm1\n\t"
		"punpcklqdq %%xmm1, %%xmm0\n\t"
		"pshufb %[reverse], %%xmm0\n\t"
		"movdqa %%xmm0, %%xmm1\n\t"
		"pclmulqdq $0x00, %[p2], %%xmm0\n\t"
		"pclmulqdq $0x11, %[p2], %%xmm1\n\t"
		"pxor %%xmm0, %%xmm2\n\t"
		"pxor %%xmm1, %%xmm2\n\t"

		"movq %[li], %%xmm0\n\t" // x^10, and x^54 as the powers
		"pslldq $8, %%xmm0\n\t"
		"pxor %%xmm0, %%xmm2\n\t"

		"movdqa %%xmm2, %%xmm0\n\t"
		"paddq %%xmm0, %%xmm0\n\t"
		"pclmulqdq $0x01, %[barrett], %%xmm0\n\t"
		"pclmulqdq $0x11, %[barrett], %%xmm0\n\t"
		"pxor %%xmm0, %%xmm2\n\t"
		"movq %%xmm2, %[r]\n\t"

		"movaps %[x0], %%xmm0\n\t"
		"movaps %[x1], %%xmm1\n\t"
		"movaps %[x2], %%xmm2"
		: [r] "=&r"(r), [x0] "=m"(kept[0]), [x1] "=m"(kept[1]), [x2] "=m"(kept[2])
		: [w1] "r"(word1), [w2] "r"(d[0]), [w3] "r"(d[1]), [w4] "r"(d[2]), [w5] "r"(d[3]), [w6] "r"(d[4]), [li] "r"(li),
		  [reverse] "m"(crc10_reverse), [p0] "m"(crc10_powers[0]), [p1] "m"(crc10_powers[1]), [p2] "m"(crc10_powers[2]),
		  [barrett] "m"(crc10_barrett));
	return r >> 54;
}

// sar is the SAR header of the cell of an index, in its place in word 1. The number is SN, its low 4 bits, and MID.
INLINE u64 sar(u64 index)
{
	u32 number = index & NUMBER_MASK;
	return (u64)swap2(SSM | (number & 0xf) << 10 | number >> 4) << 16;
}

// keyed puts the key in front of the data.
INLINE void keyed(u64 d[DATA], u32 key)
{
	UNROLL for (int i = DATA - 1; i > 0; i--)
		d[i] = d[i] << 32 | d[i - 1] >> 32;
	d[0] = d[0] << 32 | swap4(key);
}

// seal makes the cell of an index, of li octets of which those behind the operation word are in d, and publishes it.
INLINE void seal(struct slot *s, u64 header0, u64 header1, u64 index, u32 operation, const u64 d[DATA], u64 li)
{
	volatile u64 *w = s->word;
	u64 word1 = sar(index) | (u64)swap4(operation) << 32;
	// Before the first store: who looks at the line all the time would take it away while the others wait for the checksum.
	u64 end = swap2(li << LI_SHIFT | crc10(word1, d, li));
	w[1] = word1 | header1;
	UNROLL for (int i = 0; i < DATA; i++)
		w[2 + i] = d[i];
	w[7] = end;
	w[0] = header0 | (u32)(index + 1);
}

// A message is what was found in a slot.
struct message {
	u32 operation;
	u32 li;
	u64 d[DATA]; // behind the operation word
};

// open copies the cell of an index, and reports whether it is there and right: published, of the header, the only segment of its message, with the
// number, length and checksum that belong there.
INLINE int open(struct message *m, const struct slot *s, u64 header0, u64 header1, u64 index)
{
	const volatile u64 *w = s->word;
	if (w[0] != (header0 | (u32)(index + 1)))
		return 0;
	u64 word1 = w[1], word7;
	UNROLL for (int i = 0; i < DATA; i++)
		m->d[i] = w[2 + i];
	word7 = w[7];
	m->operation = swap4(word1 >> 32);
	u32 end = swap2(word7);
	m->li = end >> LI_SHIFT;
	if ((word1 & 0xffffffff) != (header1 | sar(index)) || word7 >> 16 != 0 || m->li < MIN_MESSAGE || m->li > MAX_MESSAGE)
		return 0;
	return (end & CRC_MASK) == crc10(word1 & ~(u64)0xffff, m->d, m->li);
}

// unkeyed takes the key off the data, and reports whether it is the right one.
INLINE int unkeyed(struct message *m, u32 key)
{
	int right = (u32)m->d[0] == swap4(key);
	drop(m->d, KEY);
	m->li -= KEY;
	return right;
}
