package atm

import "fmt"

// A Class is the service that a circuit gets where cells have to wait for a line (ATM Forum TM 4.0; ITU-T I.371 calls them
// transfer capabilities).
type Class uint8

// Classes.
const (
	UBR     Class = iota // unspecified bit rate: what is left over
	VBR                  // variable bit rate
	CBR                  // constant bit rate
	Classes              // how many there are
)

var classNames = [Classes]string{"ubr", "vbr", "cbr"}

// String is the class in a word: "ubr", "vbr", "cbr".
func (c Class) String() string {
	if c < Classes {
		return classNames[c]
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// Queueing says how cells wait for a line, each class in a queue of its own. Lengths are in cells. A threshold of 0 is none; others
// take effect on a cell that finds so many in front of it, not counting the one in transmission.
type Queueing struct {
	Size int // of the queue of each class; 0: DefaultQueue
	CLP  int // cells with CLP 1 are discarded from here on
	EPD  int // early packet discard: AAL5 PDUs are not begun from here on
	EFCI int // cells are marked from here on

	// PPD is partial packet discard: when a cell of an AAL5 PDU is discarded, so are the rest of it up to the last.
	PPD bool

	// Weights are the shares of the line that the classes have of it while they all have cells waiting. 0: 1 for UBR, 4 for VBR, 16
	// for CBR. A class of its own gets the whole line.
	Weights [Classes]int
}

// DefaultQueue is the size of a queue if none is given.
const DefaultQueue = 1024

// maxQueue bounds sizes: 16 million cells are 850 MB.
const maxQueue = 1 << 24

var defaultWeights = [Classes]int{UBR: 1, VBR: 4, CBR: 16}

// maxWeight is the largest weight.
const maxWeight = 1 << 16

// check fills in what was left out and finds what cannot be.
func (q *Queueing) check() error {
	if q.Size == 0 {
		q.Size = DefaultQueue
	}
	if q.Size < 1 || q.Size > maxQueue {
		return fmt.Errorf("a queue of %d cells is not possible, give 1 to %d", q.Size, maxQueue)
	}
	for _, t := range []struct {
		name  string
		value int
	}{{"CLP", q.CLP}, {"EPD", q.EPD}, {"EFCI", q.EFCI}} {
		if t.value < 0 || t.value > q.Size {
			return fmt.Errorf("the %s threshold %d is not between 0 and the queue's %d cells", t.name, t.value, q.Size)
		}
	}
	for class, w := range q.Weights {
		if w == 0 {
			q.Weights[class], w = defaultWeights[class], defaultWeights[class]
		}
		if w < 1 || w > maxWeight {
			return fmt.Errorf("the weight %d of %v is not between 1 and %d", w, Class(class), maxWeight)
		}
	}
	return nil
}

// queues are the queues of a line. Among those that are not empty, the one is served next that was served least for its
// weight (start-time fair queueing; cells are all of one length, so counting them is enough).
type queues struct {
	Queueing
	cells  [Classes]ring[Cell]
	total  int
	marked uint64          // cells that met the EFCI threshold
	served [Classes]uint64 // cells served so far divided by the weight: in units of 1/unit
	now    uint64          // served of the class served last
}

// unit is what one cell counts at the weight 1.
const unit = maxWeight

// add lets c wait, which belongs to the circuit f, or says why not.
func (q *queues) add(c *Cell, f *flow) (why DropReason, ok bool) {
	r := &q.cells[f.class]
	if why, ok = f.admit(q, r.n, c); !ok {
		return why, false
	}
	if r.n == 0 {
		q.served[f.class] = max(q.served[f.class], q.now) // nothing was saved up while there was nothing to send
	}
	slot := r.push()
	*slot = *c
	if q.EFCI > 0 && r.n > q.EFCI && c.PT().User() {
		slot.MarkEFCI()
		q.marked++
	}
	q.total++
	return 0, true
}

// take takes the cell that is next; there is one. It can be read until the next add.
func (q *queues) take() *Cell {
	best := Classes
	for c := Classes; c > 0; c-- {
		if k := c - 1; q.cells[k].n > 0 && (best == Classes || q.served[k] < q.served[best]) {
			best = k
		}
	}
	q.now = q.served[best]
	q.served[best] += unit / uint64(q.Weights[best])
	q.total--
	return q.cells[best].pop()
}

// drop empties the queues and returns how many cells were in them.
func (q *queues) drop() (dropped int) {
	dropped = q.total
	q.cells, q.total = [Classes]ring[Cell]{}, 0
	return dropped
}

// frame is where a circuit is in its AAL5 PDU, as its cells come to a queue. The last cell of a PDU is seen by its payload type.
//
//	             accepted               accepted, last
//	          ┌───────────▶ inside ─────────────────────┐
//	          │               │ discarded (PPD)         ▼
//	between ──┤               └────────▶ tail ──────▶ between
//	          │                 all but a last cell     ▲
//	          │                 are discarded           │
//	          └───────────▶ skip ───────────────────────┘
//	             discarded     all are discarded  last
//
// A tail ends with a last cell that is accepted and tells the receiver that the PDU is over. If that one is discarded, too, then the receiver
// takes the next PDU for the rest of this one: it is lost, and its last cell takes the place.
type frame uint8

const (
	between frame = iota // the next cell begins a PDU
	inside               // the PDU was accepted so far
	tail                 // a part of the PDU was accepted, the rest is discarded up to its last cell
	skip                 // nothing of the PDU was accepted, and nothing will be
)

// A flow is a circuit as the queues of a line see it.
type flow struct {
	line   *Line
	class  Class
	frames bool       // it carries AAL5 PDUs which may be discarded whole
	state  frame      // guarded by the line's lock
	why    DropReason // of skip
}

// Receive lets c wait for the line in the circuit's class.
func (f *flow) Receive(c *Cell) { f.line.receive(c, f) }

// admit decides on a cell that finds n others waiting.
func (f *flow) admit(q *queues, n int, c *Cell) (why DropReason, ok bool) {
	why, ok = 0, true
	switch {
	case n >= q.Size:
		why, ok = DropQueueFull, false
	case q.CLP > 0 && n >= q.CLP && c.CLP():
		why, ok = DropCLP, false
	}
	pt := c.PT()
	if !f.frames || !pt.User() {
		return why, ok
	}
	last := pt.End()
	if f.state == between && q.EPD > 0 && n >= q.EPD {
		f.state, f.why = skip, DropEPD
		why, ok = DropEPD, false
	}
	switch f.state {
	case between, inside:
		switch {
		case ok && last:
			f.state = between
		case ok:
			f.state = inside
		case !q.PPD && last:
			f.state = between
		case !q.PPD:
			f.state = inside
		case f.state == inside:
			f.state = tail
		case !last:
			f.state, f.why = skip, DropPPD
		}
	case tail:
		switch {
		case !last:
			return DropPPD, false
		case ok:
			f.state = between
		}
	case skip:
		why, ok = f.why, false
		if last {
			f.state = between
		}
	}
	return why, ok
}
