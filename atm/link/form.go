package link

import (
	"errors"
	"fmt"

	"rmemrun/atm"
)

// A Form is how cells lie in datagrams.
type Form uint8

// Forms.
const (
	// MPLS is an ATM pseudowire, many cells to a datagram.
	MPLS Form = iota
	// Bare is one cell of 53 octets to a datagram.
	Bare
)

var formNames = [...]string{"mpls", "bare"}

// String is the form in a word: "mpls", "bare".
func (f Form) String() string {
	if int(f) < len(formNames) {
		return formNames[f]
	}
	return fmt.Sprintf("Form(%d)", uint8(f))
}

// capacity is how many cells a datagram takes that has room for payload octets.
func (f Form) capacity(payload int) int {
	if f == Bare {
		return min(payload/atm.CellSize, 1)
	}
	return (payload - mplsHeaderSize) / mplsCellSize
}

// append appends a cell to a datagram, which is begun by it if it is empty; the sequence number is set later.
func (f Form) append(b []byte, label uint32, c *atm.Cell) []byte {
	if f == Bare {
		return append(b, c[:]...)
	}
	if len(b) == 0 {
		b = b[:mplsHeaderSize]
		putMPLSHeader(b, label, 0)
	}
	n := len(b)
	b = b[:n+mplsCellSize]
	putMPLSCell(b[n:], c)
	return b
}

var errBare = errors.New("not one cell of 53 octets")

// parse takes a datagram apart. Bare cells have no number, as if it were 0.
func (f Form) parse(b []byte, label uint32) (seq uint16, cells []byte, err error) {
	if f == Bare {
		if len(b) != atm.CellSize {
			return 0, nil, errBare
		}
		return 0, b, nil
	}
	return parseMPLS(b, label)
}

// next takes the first cell off the cells that parse returned.
func (f Form) next(c *atm.Cell, cells []byte) (rest []byte) {
	if f == Bare {
		return cells[copy(c[:], cells):]
	}
	getMPLSCell(c, cells)
	return cells[mplsCellSize:]
}
