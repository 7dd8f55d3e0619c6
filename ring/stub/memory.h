// Words of the guest's memory.
#pragma once
#include "layout.h"

#define INLINE static inline __attribute__((always_inline))
#define COLD static __attribute__((noinline, cold))
#define UNROLL _Pragma("GCC unroll 5") // so that the words of a cell are in registers
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

typedef u64 __attribute__((aligned(1), may_alias)) u64u;
typedef u32 __attribute__((aligned(1), may_alias)) u32u;
typedef u16 __attribute__((aligned(1), may_alias)) u16u;

enum {
	DATA = 5, // words that hold the data of a cell
	PAGE = 4096,
};

INLINE u16 swap2(u16 v) { return __builtin_bswap16(v); }
INLINE u32 swap4(u32 v) { return __builtin_bswap32(v); }
INLINE u64 swap8(u64 v) { return __builtin_bswap64(v); }

// gather loads n bytes, 1 to 40, into d, with 0 behind them; it touches none but these.
INLINE void gather(u64 d[DATA], const u8 *p, u64 n)
{
	d[0] = d[1] = d[2] = d[3] = d[4] = 0;
	if (n >= 8)
		d[0] = *(const u64u *)p;
	if (n >= 16)
		d[1] = *(const u64u *)(p + 8);
	if (n >= 24)
		d[2] = *(const u64u *)(p + 16);
	if (n >= 32)
		d[3] = *(const u64u *)(p + 24);
	if (n >= 40) {
		d[4] = *(const u64u *)(p + 32);
		return;
	}
	u64 rest = n & 7, last;
	if (rest == 0)
		return;
	if (n >= 8) {
		last = *(const u64u *)(p + n - 8) >> (64 - 8 * rest);
	} else if (n >= 4) {
		last = *(const u32u *)p | (u64)*(const u32u *)(p + n - 4) >> (64 - 8 * n) << 32;
	} else {
		last = n == 1 ? *p : *(const u16u *)p;
		if (n == 3)
			last |= (u64)p[2] << 16;
	}
	if (n < 8)
		d[0] = last;
	else if (n < 16)
		d[1] = last;
	else if (n < 24)
		d[2] = last;
	else if (n < 32)
		d[3] = last;
	else
		d[4] = last;
}

// reverse reverses the bytes of each word of the width.
INLINE void reverse(u64 d[DATA], u64 width)
{
	if (LIKELY(width == 1))
		return;
	UNROLL for (int i = 0; i < DATA; i++) {
		u64 w = d[i];
		if (width == 8)
			w = swap8(w);
		else if (width == 4)
			w = swap8(w) >> 32 | swap8(w) << 32;
		else
			w = (w & 0x00ff00ff00ff00ff) << 8 | (w >> 8 & 0x00ff00ff00ff00ff);
		d[i] = w;
	}
}

// drop takes the first bytes off d, 1 to 7.
INLINE void drop(u64 d[DATA], u64 bytes)
{
	UNROLL for (int i = 0; i < DATA; i++)
		d[i] = d[i] >> 8 * bytes | (i + 1 < DATA ? d[i + 1] << (64 - 8 * bytes) : 0);
}

// deposit stores the first n bytes of d at p, each time in the largest word that p is aligned to and that is still left, in ascending order.
INLINE void deposit(u8 *p, u64 d[DATA], u64 n)
{
	if (LIKELY(((u64)p & 7) == 0 && n == 8 * DATA)) {
		UNROLL for (int i = 0; i < DATA; i++)
			((volatile u64 *)p)[i] = d[i];
		return;
	}
	while (n > 0) {
		if (((u64)p & 7) == 0 && n >= 8) {
			*(volatile u64 *)p = d[0];
			d[0] = d[1], d[1] = d[2], d[2] = d[3], d[3] = d[4];
			p += 8, n -= 8;
			continue;
		}
		u64 size;
		if (((u64)p & 3) == 0 && n >= 4)
			*(volatile u32 *)p = d[0], size = 4;
		else if (((u64)p & 1) == 0 && n >= 2)
			*(volatile u16 *)p = d[0], size = 2;
		else
			*(volatile u8 *)p = d[0], size = 1;
		drop(d, size);
		p += size, n -= size;
	}
}

// collect is the reverse of deposit: it loads n bytes, with 0 behind them.
INLINE void collect(u64 d[DATA], const u8 *p, u64 n)
{
	if (LIKELY(((u64)p & 7) == 0 && n == 8 * DATA)) {
		UNROLL for (int i = 0; i < DATA; i++)
			d[i] = ((const volatile u64 *)p)[i];
		return;
	}
	d[0] = d[1] = d[2] = d[3] = d[4] = 0;
	for (u64 at = 0; at < n;) {
		u64 v, size, left = n - at, a = (u64)p + at;
		if ((a & 7) == 0 && left >= 8)
			v = *(volatile u64 *)a, size = 8;
		else if ((a & 3) == 0 && left >= 4)
			v = *(volatile u32 *)a, size = 4;
		else if ((a & 1) == 0 && left >= 2)
			v = *(volatile u16 *)a, size = 2;
		else
			v = *(volatile u8 *)a, size = 1;
		u64 i = at / 8, shift = at % 8 * 8;
		d[i] |= v << shift;
		if (shift + 8 * size > 64)
			d[i + 1] |= v >> (64 - shift);
		at += size;
	}
}
