package rmem

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"rmemrun/atm"
)

// seeded draws marks from a stream, one for each node.
func seeded(seed uint64) func(*fabric, *Config) {
	return func(_ *fabric, c *Config) { c.Random = rand.NewPCG(seed, uint64(c.ID)) }
}

// astray is misinsertion: cells of a port come out, with the given probability, on another of the VCs that it has carried.
type astray struct {
	probability float64
	random      *rand.Rand
	carried     []atm.VC
}

// lead changes the VC of c, perhaps.
func (a *astray) lead(c *atm.Cell) {
	if a.probability == 0 {
		return
	}
	h, ok := c.Header()
	if !ok {
		return
	}
	if !slices.Contains(a.carried, h.VC) {
		a.carried = append(a.carried, h.VC)
	}
	if a.random.Float64() < a.probability {
		if other := a.carried[a.random.IntN(len(a.carried))]; other != h.VC {
			h.VC = other
			c.SetHeader(h)
		}
	}
}

// Two nodes count, by fetch-and-add and by compare-and-swap, and keep a tally that they write and read back, through circuits whose cells come out
// on each other. All is exact in the end.
func TestMisinsertion(t *testing.T) {
	times, seeds := 2000, uint64(5)
	if testing.Short() {
		times, seeds = 400, 1
	}
	for seed := range seeds {
		clock := atm.NewSimClock()
		f := newFabric(t, 3, seeded(seed), impaired(clock, faults{astray: 0.05, loss: 0.01, late: 0.01}, seed))
		owner := f.nodes[2].NewSpace()
		added, swapped, tally := make([]byte, 8), make([]byte, 8), make([]byte, 2000)
		mustExport(t, owner, "added", added, access)
		mustExport(t, owner, "swapped", swapped, access)
		mustExport(t, owner, "tally", tally, access)
		for i := range 2 {
			s := f.nodes[i].NewSpace()
			var d []Desc
			n, step := 0, 0
			var expected uint64
			written, back := make(mem, 1000), make(mem, 1000)
			o := new(Operation)
			goOn := func() {
				if e := o.Result(); e != OK {
					t.Errorf("seed %d, node %d, round %d, step %d: %v", seed, i, n, step, e)
					return
				}
				if len(d) < 3 {
					d = append(d, Desc(o.Handle()))
					if len(d) < 3 {
						s.Import(o, []string{"added", "swapped", "tally"}[len(d)], 2, access, true)
						return
					}
					step = 5
				}
				for done := true; done; done = o.Done() {
					switch step++; step {
					case 1: // the fetch-and-add is done
						s.CAS(o, d[1], 0, 8, expected, expected+1, false)
					case 2:
						if o.Old() != expected {
							expected, step = o.Old(), 0
							continue
						}
						expected++
						// A length that is a short write, or a block: what lies between has no room for a key.
						l := 1 + (n*37)%36
						if n%8 == 0 {
							l = 41 + n%900
						}
						for k := range l {
							written[k] = byte(n + k)
						}
						s.Write(o, d[2], uint64(1000*i), written[:l], uint64(l), 1, false)
					case 3:
						s.Read(o, d[2], uint64(1000*i), back, 1000, 1, false)
					case 4:
						if !bytes.Equal(back, written) {
							t.Errorf("seed %d, node %d, round %d: it reads something else than it has written", seed, i, n)
							return
						}
						s.Read(o, d[2], uint64(1000*i), back[:40], 40, 1, false)
					case 5:
						if !bytes.Equal(back, written) {
							t.Errorf("seed %d, node %d, round %d: 40 bytes are something else than it has written", seed, i, n)
							return
						}
						n++
					default:
						if n == times {
							return
						}
						step = 0
						s.FAdd(o, d[0], 0, 8, 1, false)
					}
					if o.Result() != OK && o.Done() {
						break
					}
				}
			}
			o.Wake = func() { clock.AfterFunc(0, goOn) }
			s.Import(o, "added", 2, access, true)
		}
		clock.Run(atm.Forever)
		if a, c := number64(added), number64(swapped); a != uint64(2*times) || c != uint64(2*times) {
			t.Errorf("seed %d: added %d, swapped %d, want %d", seed, a, c, 2*times)
		}
		for i, n := range f.nodes {
			if n.Drops()[Misinserted] == 0 {
				t.Errorf("seed %d: node %d has met no misinserted cell", seed, i)
			}
		}
	}
}

// A write of one circuit that comes out on another is believed by chance only if it is too long to bear a key, and then no more often
// than docs/protocol.md, "What is not repaired", says: its number is one of 64 among 16384.
func TestMisinsertedWrites(t *testing.T) {
	trials := 1 << 14
	if testing.Short() {
		trials = 1 << 12
	}
	f := newFabric(t, 2, seeded(7))
	a, b := f.nodes[0].NewSpace(), f.nodes[1].NewSpace()
	mustExport(t, b, "mine", make([]byte, 64), access)
	m := make([]byte, 64)
	mustExport(t, b, "other", m, access)
	victim := f.nodes[1]
	discarded := func() (n uint64) {
		for _, d := range victim.Drops() {
			n += d
		}
		return n
	}
	believed := map[int]int{} // by length
	carriedOut := 0
	for range trials {
		mine, other := mustImport(t, a, "mine", 1, access), mustImport(t, a, "other", 1, access)
		c, there := a.descriptors.get(int32(mine)), a.descriptors.get(int32(other)).remote
		for _, n := range []int{36, 40} {
			op := OpWrite
			if n <= maxShort {
				op = OpWriteShort
			}
			message := u32(word(op, 0))
			if op.lead() > wordSize {
				message = append(message, u32(c.mine.key)...)
			}
			var cell atm.Cell
			cell.SetHeader(atm.Header{VC: there})
			sealCell(&cell, c.mine.number(c.issued), append(message, bytes.Repeat([]byte{0xee}, n)...))
			before := discarded()
			clear(m)
			victim.Receive(&cell)
			if discarded() == before {
				believed[n]++
			}
			if m[0] != 0 {
				carriedOut++
			}
		}
		for _, d := range []Desc{mine, other} {
			if e, _ := do(func(o *Operation) { a.Release(o, d) }); e != OK {
				t.Fatal(e)
			}
		}
	}
	mean := float64(trials) * window / (seqMask + 1)
	deviation := math.Sqrt(mean)
	t.Logf("of %d misinserted writes of 40 bytes %d were believed, %d of them at once; of as many of 36 bytes, %d", trials, believed[40], carriedOut, believed[36])
	if d := math.Abs(float64(believed[40]) - mean); d > 4*deviation {
		t.Errorf("%d writes of 40 bytes were believed, want %.0f, give or take %.0f", believed[40], mean, 4*deviation)
	}
	if believed[36] != 0 {
		t.Errorf("%d writes of 36 bytes were believed, which bear the key of another circuit", believed[36])
	}
}

// What bears a mark bears it whole: whichever bit of a key is another, the cell is dropped.
func TestEveryBitOfTheKey(t *testing.T) {
	m := mark{key: 0x5e6f7081}
	for op := Op(0); op < 16; op++ {
		message := append(u32(word(op, 0)), u32(m.key)...)
		width := 32
		switch op {
		case OpWrite:
			continue
		case OpData:
			message, width = append(u32(word(op, m.dataKey())), u32(0)...), 28
		}
		if !m.on(message) {
			t.Errorf("%v: its own mark is not known", op)
		}
		at := op.lead() - 4
		for bit := range width {
			word := binary.BigEndian.Uint32(message[at:])
			binary.BigEndian.PutUint32(message[at:], word^1<<bit)
			if m.on(message) {
				t.Errorf("%v: bit %d of the key is not looked at", op, bit)
			}
			binary.BigEndian.PutUint32(message[at:], word)
		}
	}
}
