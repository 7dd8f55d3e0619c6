package link

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"rmemrun/atm"
)

// TCP is a [Link] over a TCP connection, or any other stream of octets.
type TCP struct {
	conn net.Conn
	line *atm.Delineator

	mu      sync.Mutex
	octets  atm.Transmitter
	waiting []byte // to be written
	cells   uint64 // in waiting
	closed  bool
	wake    chan struct{}

	end     ending
	reading sync.WaitGroup
	writing sync.WaitGroup
	count   counts
}

// tcpWaiting is how many octets may wait to be written: then cells are dropped. A link cannot wait for the other end, which may itself be
// waiting for this one.
const tcpWaiting = 1 << 17 * atm.CellSize

// tcpLinger is how long Close waits for what is waiting to be written.
const tcpLinger = time.Second

// NewTCP makes a link of a connection, which it owns from then on.
func NewTCP(conn net.Conn, to atm.Receiver) *TCP {
	l := &TCP{conn: conn, wake: make(chan struct{}, 1), end: newEnding()}
	l.line = atm.NewDelineator(countingReceiver{to, &l.count})
	l.reading.Go(l.read)
	l.writing.Go(l.write)
	return l
}

// A countingReceiver counts the cells received.
type countingReceiver struct {
	to    atm.Receiver
	count *counts
}

// Receive counts a cell and hands it on.
func (r countingReceiver) Receive(c *atm.Cell) {
	r.count.received.Add(1)
	r.to.Receive(c)
}

// Receive sends a cell.
func (l *TCP) Receive(c *atm.Cell) {
	if !l.count.sendable(c) {
		return
	}
	l.mu.Lock()
	if l.closed || len(l.waiting) >= tcpWaiting {
		l.mu.Unlock()
		l.count.overflow.Add(1)
		return
	}
	first := len(l.waiting) == 0
	l.waiting = l.octets.Append(l.waiting, c)
	l.cells++
	l.mu.Unlock()
	if first {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// write writes what is waiting whenever something is.
func (l *TCP) write() {
	var octets []byte
	for {
		l.mu.Lock()
		octets, l.waiting = l.waiting, octets[:0]
		cells, closed := l.cells, l.closed
		l.cells = 0
		l.mu.Unlock()
		if len(octets) > 0 {
			if _, err := l.conn.Write(octets); err != nil {
				l.count.unsent.Add(cells)
				l.stop(err)
				return
			}
			l.count.sent.Add(cells)
			continue
		}
		if closed {
			return
		}
		<-l.wake
	}
}

// read finds the cells in what arrives.
func (l *TCP) read() {
	_, err := l.line.ReadFrom(l.conn)
	if err == nil {
		err = io.EOF // the peer has closed it
	}
	l.stop(err)
}

// stop ends the link because of err; nil: it is closed.
func (l *TCP) stop(err error) {
	l.refuse()
	l.end.end(err)
	_ = l.conn.Close() // a connection that cannot be closed has no remedy
}

// refuse takes no more cells, and lets the writer end when it has written those that wait.
func (l *TCP) refuse() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Counters reads the counters.
func (l *TCP) Counters() Counters {
	c := l.count.read()
	c.Discarded = l.line.Counters().Discarded
	return c
}

// Local is the address of this end.
func (l *TCP) Local() netip.AddrPort { return addrPort(l.conn.LocalAddr()) }

// Peer is the address of the other end.
func (l *TCP) Peer() netip.AddrPort { return addrPort(l.conn.RemoteAddr()) }

// addrPort is the address of a TCP connection's end, not valid if that is none.
func addrPort(a net.Addr) netip.AddrPort {
	if a, ok := a.(*net.TCPAddr); ok {
		at := a.AddrPort()
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	return netip.AddrPort{}
}

// Done is closed when the link has ended.
func (l *TCP) Done() <-chan struct{} { return l.end.done }

// Err is why the link has ended, nil if it was closed, io.EOF if the peer closed it.
func (l *TCP) Err() error { return l.end.err() }

// Close ends the link.
func (l *TCP) Close() error {
	l.refuse()
	_ = l.conn.SetWriteDeadline(time.Now().Add(tcpLinger)) // if it cannot be set, the peer decides how long this takes
	l.writing.Wait()
	l.stop(nil)
	l.reading.Wait()
	return nil
}
