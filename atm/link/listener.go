package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"rmemrun/atm"
)

// A Verdict is what is done about a datagram, or a connection, of somebody who is not the peer yet.
type Verdict uint8

// Verdicts.
const (
	Reject Verdict = iota // forget it
	Answer                // send back the cell that was given, changed, and forget it
	Admit                 // this is the peer; the cell was for the admission
)

// A Door decides about cells from those who are not the peer. It may overwrite the cell with an answer. It is called by one goroutine.
type Door func(from netip.AddrPort, c *atm.Cell) Verdict

// A Listener waits for the peer of a link over UDP. It has no memory of anybody: whatever comes is shown to the door, and answered or
// forgotten.
type Listener struct {
	cfg   UDPConfig
	conn  *net.UDPConn
	mu    sync.Mutex
	given bool // the socket is a link's
	count counts
}

// ListenUDP opens the socket at cfg.Local.
func ListenUDP(cfg UDPConfig) (*Listener, error) {
	if cfg.Peer.IsValid() {
		return nil, fmt.Errorf("listen for %v over UDP: a listener does not know its peer", cfg.Peer)
	}
	at := cfg.Local
	conn, err := cfg.setup()
	if err != nil {
		return nil, fmt.Errorf("listen at %v over UDP: %w", at, err)
	}
	return &Listener{cfg: cfg, conn: conn}, nil
}

// Local is where it listens.
func (l *Listener) Local() netip.AddrPort { return l.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Counters reads the counters: strangers and malformed datagrams so far.
func (l *Listener) Counters() Counters { return l.count.read() }

// Accept waits until the door admits somebody, and makes the link to him; the socket is the link's then. The door sees only the first
// cell of a datagram, and those behind it are dropped.
func (l *Listener) Accept(ctx context.Context, door Door, to atm.Receiver) (*UDP, error) {
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, maxUDP)
	var c atm.Cell
	for {
		n, from, err := l.conn.ReadFromUDPAddrPort(buf)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("listen at %v: %w", l.Local(), ctx.Err())
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, fmt.Errorf("listen at %v: %w", l.Local(), err)
		}
		if err != nil {
			continue // of one datagram
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		seq, cells, err := l.cfg.Form.parse(buf[:n], l.cfg.Label)
		if err != nil {
			l.count.strangers.Add(1)
			l.count.malformed.Add(1)
			continue
		}
		l.cfg.Form.next(&c, cells)
		switch door(from, &c) {
		case Reject:
			l.count.strangers.Add(1)
		case Answer:
			l.answer(from, &c)
		case Admit:
			if !stop() { // the time was over in this moment: the deadline is set, or is about to be
				return nil, fmt.Errorf("listen at %v: %w", l.Local(), context.Canceled)
			}
			l.mu.Lock()
			l.given = true
			l.mu.Unlock()
			cfg := l.cfg
			cfg.Peer = from
			var o order
			if seq != 0 {
				o.expected = nextSequence(seq)
			}
			return newUDP(cfg, l.conn, to, o), nil
		}
	}
}

// answer sends one cell to somebody who is not the peer, without a number.
func (l *Listener) answer(to netip.AddrPort, c *atm.Cell) {
	b := l.cfg.Form.append(make([]byte, 0, mplsHeaderSize+atm.CellSize), l.cfg.Label, c)
	_, _ = l.conn.WriteToUDPAddrPort(b, to) // he will ask again
}

// Close closes the socket, unless it has become a link's.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.given {
		return nil
	}
	return l.conn.Close()
}
