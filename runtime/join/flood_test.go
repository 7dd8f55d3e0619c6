package join

import (
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"testing"
	"time"

	"rmemrun/atm"
	"rmemrun/rmem"
)

// heap is how many bytes are in use, after two collections: what is in a pool stays for one.
func heap() int64 {
	goruntime.GC()
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A count is a number that the receiver of a flood has of what he has dropped.
type count struct {
	name string
	read func(b *process) uint64
}

func atNode(r rmem.Reason) count {
	return count{fmt.Sprint("dropped at the node: ", r), func(b *process) uint64 { return b.nodes[0].Drops()[r] }}
}

var (
	atSwitch = count{"dropped at the switch", func(b *process) uint64 {
		return b.trunk.sw.Counters(0).Dropped[atm.DropNoRoute]
	}}
	damaged = count{"damaged signalling", func(b *process) uint64 { return b.trunk.Report().Dropped["damaged-signalling"] }}
	foreign = count{"signalling of nobody", func(b *process) uint64 { return b.trunk.Report().Dropped["foreign-signalling"] }}
)

// TestFloods has one process flood the other with a million cells of each kind that is no good, over UDP, and with a tenth of it over TCP. The other's memory stays bounded,
// all that it drops is counted, and the circuits between the two go on working.
func TestFloods(t *testing.T) {
	const (
		ahead    = 512 // cells that may be under way: UDP has room for so many
		circuits = 300 // more than a node reassembles blocks of at a time, which is 256
		limit    = 4<<20 + 256*80<<10
	)
	million := 1_000_000
	if testing.Short() {
		million = 50_000
	}
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(c *atm.Cell, h atm.Header) {
		for i := range c.Payload() {
			c.Payload()[i] = byte(random.Uint32())
		}
		c.SetHeader(h)
	}
	var cutter atm.Segmenter
	for _, form := range []string{"udp", "tcp"} {
		t.Run(form, func(t *testing.T) {
			cells := million
			if form == "tcp" {
				cells /= 10 // behind the link they go the same way
			}
			a, b := join(t, form, 1, 1)
			const all = rmem.Read | rmem.Write | rmem.Atomic
			if _, e := b.space[0].Export("seg", make([]byte, 4096), all); e != rmem.OK {
				t.Fatal(e)
			}
			imported := func() rmem.Desc {
				t.Helper()
				e, o := do(t, func(o *rmem.Operation) { a.space[0].Import(o, "seg", b.trunk.First(), all, true) })
				if e != rmem.OK {
					t.Fatalf("import: %v", e)
				}
				return rmem.Desc(o.Handle())
			}
			good := imported()
			for range circuits {
				imported()
			}
			var lower []atm.VC // on the trunk
			a.trunk.mu.Lock()
			for _, c := range a.trunk.circuits {
				lower = append(lower, c.trunk)
			}
			a.trunk.mu.Unlock()
			control := a.trunk.controlVC(a.trunk.First(), b.trunk.First())
			for _, k := range []struct {
				name  string
				make  func(i int, c *atm.Cell)
				count []count // one of them at least grows by all cells together, if every is 1
				every int     // one cell in so many is counted
			}{
				{"unknown VCs", func(i int, c *atm.Cell) {
					noise(c, atm.Header{VC: atm.VC{VPI: uint8(100 + i%100), VCI: uint16(atm.FirstUserVCI + i%60000)}})
				}, []count{atSwitch}, 1},
				{"single cells of noise", func(i int, c *atm.Cell) { noise(c, atm.Header{VC: lower[i%len(lower)]}) },
					[]count{atNode(rmem.BadCRC10), atNode(rmem.BadSegment), atNode(rmem.Misinserted)}, 1},
				{"AAL3/4 messages begun and not ended", func(i int, c *atm.Cell) {
					// The beginning and a middle of a message of an unknown MID, with a right CRC-10.
					var s atm.Segmenter34
					_ = s.Begin(atm.Header{VC: lower[i%len(lower)]}, uint16(i), make([]byte, 200), nil) // 1 to 65535 octets are right
					for range 1 + i%2 {
						s.Next(c)
					}
				}, []count{atNode(rmem.BadSegment)}, 1},
				{"blocks with a wrong CRC-32", func(i int, c *atm.Cell) {
					noise(c, atm.Header{VC: next(lower[i%len(lower)], 1), PT: atm.PTUserEnd})
				}, []count{atNode(rmem.BadPDU)}, 1},
				{"blocks that never end", func(i int, c *atm.Cell) { noise(c, atm.Header{VC: next(lower[i%len(lower)], 1)}) },
					[]count{atNode(rmem.Overflow)}, 0},
				{"control cells of noise", func(i int, c *atm.Cell) { noise(c, atm.Header{VC: control, PT: atm.PTUserEnd}) },
					[]count{atNode(rmem.BadPDU)}, 1},
				{"signalling cells of noise", func(i int, c *atm.Cell) { noise(c, atm.Header{VC: signallingVC, PT: atm.PTUserEnd}) },
					[]count{damaged}, 1},
				{"frames of another session", func(i int, c *atm.Cell) {
					_ = cutter.Begin(atm.Header{VC: signallingVC}, 0, make([]byte, frameHeader), nil) // 1 to 65535 octets are right
					cutter.Next(c)
				}, []count{foreign}, 1},
				{"signalling that ends late", func(i int, c *atm.Cell) {
					h := atm.Header{VC: signallingVC}
					if i%100 == 99 {
						h.PT = atm.PTUserEnd
					}
					noise(c, h)
				}, []count{damaged}, 100},
			} {
				t.Run(k.name, func(t *testing.T) {
					was := make([]uint64, len(k.count))
					for i, c := range k.count {
						was[i] = c.read(b)
					}
					counted := func() (n uint64) {
						for i, c := range k.count {
							n += c.read(b) - was[i]
						}
						return n
					}
					before := heap()
					received := b.trunk.Link().Counters().Received
					var most int64
					for i := range cells {
						var c atm.Cell
						k.make(i, &c)
						a.trunk.Link().Receive(&c)
						if i%64 == 63 || i == cells-1 {
							due := uint64(i + 1 - min(ahead, i+1))
							if i == cells-1 {
								due = uint64(cells)
							}
							end := time.Now().Add(20 * time.Second)
							for b.trunk.Link().Counters().Received-received < due {
								if time.Sleep(20 * time.Microsecond); time.Now().After(end) {
									t.Fatalf("of %d cells %d came", i+1, b.trunk.Link().Counters().Received-received)
								}
							}
						}
						if i%(cells/2) == cells/2-1 {
							most = max(most, heap()-before)
						}
					}
					if most > limit {
						t.Errorf("it holds %d bytes more than before, at most %d may be", most, limit)
					}
					for i, c := range k.count {
						if c.read(b) == was[i] && i == 0 {
							t.Errorf("nothing is counted: %s", c.name)
						}
					}
					if k.every != 0 { // what the link has counted it hands on in a moment
						want := uint64(cells / k.every)
						for end := time.Now().Add(20 * time.Second); counted() < want*99/100 && time.Now().Before(end); {
							time.Sleep(time.Millisecond)
						}
						if n := counted(); n < want*99/100 || n > want*101/100+10 {
							t.Errorf("%d are counted, want about %d", n, want)
						}
					}
					t.Logf("%d bytes more, %d counted", most, counted())
					back := make(memory, 40)
					if e, _ := do(t, func(o *rmem.Operation) { a.space[0].Read(o, good, 0, back, 40, 1, false) }); e != rmem.OK {
						t.Errorf("a read afterwards: %v", e)
					}
					if e, _ := do(t, func(o *rmem.Operation) { a.space[0].FAdd(o, imported(), 0, 8, 1, false) }); e != rmem.OK {
						t.Errorf("a fetch-and-add on a new circuit afterwards: %v", e)
					}
				})
			}
			b.end(t)
			a.end(t)
		})
	}
}
