package atm

// A Transmitter makes the stream of octets that a [Delineator] takes apart: cells
// one behind the other, payloads scrambled. The stream begins with the idle
// cells that the receiver needs to find the boundaries. The zero value is
// ready. It is not safe for concurrent use.
type Transmitter struct {
	line   Scrambler
	begun  bool
	cell   Cell // what is being sent: the caller's cell is not changed
	idling Cell // an idle cell, made when the first is needed
}

// preamble is how many idle cells a stream begins with: the one that is found,
// and those that confirm.
const preamble = 1 + Delta

// Append appends c to the stream and returns the longer buf; c is unchanged. The first
// call appends the beginning of the stream, too.
func (t *Transmitter) Append(buf []byte, c *Cell) []byte {
	if !t.begun {
		buf = t.Resync(buf)
	}
	return t.append(buf, c)
}

// AppendIdle appends n idle cells to the stream, which keep a line of constant rate
// filled, and returns the longer buf.
func (t *Transmitter) AppendIdle(buf []byte, n int) []byte {
	if t.idling == (Cell{}) {
		t.idling.SetIdle()
	}
	for range n {
		buf = t.append(buf, &t.idling)
	}
	return buf
}

// Resync appends what a receiver needs that has lost, or has never had, the
// boundaries of the cells: idle cells.
func (t *Transmitter) Resync(buf []byte) []byte {
	t.begun = true
	return t.AppendIdle(buf, preamble)
}

func (t *Transmitter) append(buf []byte, c *Cell) []byte {
	t.cell = *c
	t.line.Scramble(t.cell.Payload())
	return append(buf, t.cell[:]...)
}
