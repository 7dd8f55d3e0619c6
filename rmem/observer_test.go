package rmem

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"rmemrun/atm"
)

type atmCell = atm.Cell

// A recorder keeps all events, with copies of their cells.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) Observe(e *Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := *e
	if e.Cell != nil {
		cell := *e.Cell
		c.Cell = &cell
	}
	r.events = append(r.events, c)
}

func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = nil
}

func (r *recorder) count(f func(*Event) bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.events {
		if f(&r.events[i]) {
			n++
		}
	}
	return n
}

// anonymous is memory outside of Go's heap, as a guest's is.
func anonymous(t testing.TB, size int) []byte {
	t.Helper()
	m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	return m
}

// A cell that comes is told of once, whatever becomes of it: captures show each as one packet.
func TestObserverSeesCellsOnce(t *testing.T) {
	e := newEnemy(t, marked)
	r := &recorder{}
	e.victim.observer = r
	control := atm.VC{VCI: ControlVCI(0)}
	pdu := func(vc atm.VC, digits string) []atm.Cell {
		var s atm.Segmenter
		if err := s.Begin(atm.Header{VC: vc}, 0, unhex(t, digits), nil); err != nil {
			t.Fatal(err)
		}
		var cells []atm.Cell
		for c := (atm.Cell{}); s.Next(&c); {
			cells = append(cells, c)
		}
		return cells
	}
	single := func(seq uint64, digits string) []atm.Cell {
		var c atm.Cell
		c.SetHeader(atm.Header{VC: e.rw})
		sealCell(&c, e.mark(e.rw).number(seq), unhex(t, digits))
		return []atm.Cell{c}
	}
	for _, test := range []struct {
		name  string
		cells []atm.Cell
		last  Kind // what the last of them is
	}{
		{"write", single(0, "20000000 1a2b3c4d 00000000"), Received},
		{"write again", single(0, "20000000 1a2b3c4d 00000000"), Dropped},
		{"malformed request", single(1, "20000000 1a2b3c4d"), Dropped},
		{"misinserted request", single(2, "20000000 2a2b3c4d 00000000"), Dropped},
		{"block", pdu(upperVC(e.rw), "10000000 1a2b3c4d 0000000000000030 0000000000000000"+strings.Repeat("00", 48)), Received},
		{"malformed block", pdu(upperVC(e.rw), "10000001 1a2b3c4d 0000000000000000 0000000000000000"+strings.Repeat("00", 48)), Dropped},
		{"gap", single(400, "20000000 1a2b3c4d 00000000"), Dropped},
		{"after it", single(4, "20000000 1a2b3c4d 00000000"), Received},
		{"damaged", func() []atm.Cell { c := single(5, "20000000 1a2b3c4d 00000000"); c[0][30] ^= 1; return c }(), Dropped},
		{"connect to nothing", pdu(control, "b0000002 00000001 00000009 00000001 00000001 00000ffc 00000022 00000001 00000000 00000000"), Dropped},
		{"connect over a circuit of the victim", pdu(control, "b0000002 00000001 00000000 00000001 00000001 00000020 00000022 00000001 00000000 00000000"), Dropped},
		{"disconnect of nothing", pdu(control, "d0000002 00000001 00000000 00000000 00000000 00000ffc 00000000 00000001 00000000 00000000"), Dropped},
		{"reply to nothing", pdu(control, "c0000002 0000ffff 00000000 00000000 00000000 00000000 00000000 00000001 00000000 00000000"), Dropped},
		{"message to another node", pdu(control, "d0000002 00000001 00000000 00000000 00000000 00000ffc 00000000 00000002 00000000 00000000"), Dropped},
		{"message too long", pdu(control, strings.Repeat("00", 100)), Dropped},
		{"disconnect", pdu(control, fmt.Sprintf("d0000002 00000001 00000000 00000000 00000000 %08x 00000000 00000001 00000000 00000000", vcNumber(e.rw))), Received},
	} {
		for i := range test.cells {
			r.reset()
			c := test.cells[i]
			e.victim.Receive(&c)
			want := Received
			if i == len(test.cells)-1 {
				want = test.last
			}
			told := func(k Kind) int {
				return r.count(func(e *Event) bool { return e.Kind == k && e.Cell != nil && *e.Cell == test.cells[i] })
			}
			if told(want) != 1 || told(Received)+told(Dropped) != 1 {
				t.Errorf("%s, cell %d: received %d times, dropped %d times, want %v", test.name, i, told(Received), told(Dropped), want)
			}
		}
	}
}
