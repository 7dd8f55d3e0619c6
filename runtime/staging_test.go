package runtime

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	rings "rmemrun/ring"
)

// TestLongestExtents: whatever order they come in, and however many are as long as each other, the same are kept.
func TestLongestExtents(t *testing.T) {
	const seed = 1
	r := rand.New(rand.NewPCG(seed, seed))
	for count := range 40 {
		var all []extent
		for i := range count {
			all = append(all, extent{addr: uint64(i) << 12, length: 1 + r.Uint64N(1+uint64(count)/4)})
		}
		var want extents
		copy(want[:], slices.SortedFunc(slices.Values(all), func(a, b extent) int {
			return cmp.Or(cmp.Compare(b.length, a.length), cmp.Compare(a.addr, b.addr))
		}))
		for range 10 {
			r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			var got extents
			for _, e := range all {
				got.add(e)
			}
			if got != want {
				t.Errorf("of %v\n%d are kept: %v\nwant %v", all, rings.MaxRanges, got, want)
			}
		}
	}
}
