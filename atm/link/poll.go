package link

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"rmemrun/atm"
)

// A Polled is the link's socket for who looks for datagrams by himself, on a processor of his own, instead of sleeping until one comes.
//
// The socket then is none that the Go runtime knows, as it would be told of each datagram, and wake somebody for it. While nobody looks, a thread
// sleeps in poll(2):
//
//	         Attend(true): the reader is done with its datagram
//	reader ──────────────────────────────────────────────────▶ who looks: Poll, Flush
//	sleeps ◀──────────────────────────────────────────────────
//	         Attend(false): the reader looks, and sleeps
//
// The socket stays readable as long as something is in it: so nothing is overlooked when it changes hands. Cells that are sent by others while it is looked at go out
// with the next Flush.
type Polled struct {
	l    *UDP
	fd   int
	came func()

	reading  sync.Mutex // held by who reads; never together with another lock of the link's
	attended atomic.Bool
	free     sync.Cond // with reading: attended is false, or the link ends
	closed   atomic.Bool
	buf      []byte
	cell     atm.Cell
}

// ErrNotPolled says why a link cannot be looked at.
var ErrNotPolled = errors.New("the port of the other end is not known")

// Polled has the link looked at by who wants to, from now on. It is called once, before others use the link. Came is called by the reader, when it has handed on what
// had come, with locks held: it must be quick.
func (l *UDP) Polled(came func()) (*Polled, error) {
	if l.cfg.Peer.Port() == 0 {
		return nil, ErrNotPolled
	}
	p := &Polled{l: l, came: came, buf: make([]byte, maxUDP)}
	p.free.L = &p.reading
	if err := p.open(); err != nil {
		return nil, fmt.Errorf("take the socket of the link to %v: %w", l.cfg.Peer, err)
	}
	l.writing.Lock()
	l.polled.Store(p)
	l.writing.Unlock()
	_ = l.conn.Close() // the socket stays open, by p.fd; the reader that the runtime wakes ends
	<-l.readEnded
	p.sift()
	l.wg.Go(p.read)
	return p, nil
}

// open makes a descriptor of the socket that nobody else has. It is connected to the peer: the kernel looks for the way but once.
func (p *Polled) open() error {
	raw, err := p.l.conn.SyscallConn()
	if err != nil {
		return err
	}
	failed := raw.Control(func(fd uintptr) {
		if p.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return
		}
		if err = unix.Connect(p.fd, sockaddr(p.l.cfg.Peer)); err != nil {
			_ = unix.Close(p.fd)
		}
	})
	return errors.Join(failed, err)
}

// sift hands on what came before the socket was connected, and may be a stranger's.
func (p *Polled) sift() {
	for {
		n, from, err := unix.Recvfrom(p.fd, p.buf, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil: // of one that was sent
		case p.l.fromPeer(address(from)):
			p.l.take(p.buf[:n], &p.cell)
		default:
			p.l.count.strangers.Add(1)
		}
	}
}

func address(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// Attend says whether the caller looks at the link from now on. When he begins to, nobody else does any more.
func (p *Polled) Attend(yes bool) {
	p.reading.Lock()
	p.attended.Store(yes)
	p.reading.Unlock()
	if !yes {
		p.free.Signal()
		p.Flush() // who has sent a cell meanwhile left it to us
	}
}

// Leave says that nobody looks any more, nor wants to know when something comes.
func (p *Polled) Leave() {
	p.Attend(false)
	p.reading.Lock()
	defer p.reading.Unlock()
	p.came = nil
}

// Poll hands on what is in the socket: one datagram, or, if that has several cells, some. It reports whether there was one. It is for who has said that he looks.
func (p *Polled) Poll() bool {
	for n := range receiveBatch {
		cells := p.take()
		if cells <= 1 {
			return n > 0 || cells == 1
		}
	}
	return true
}

// take hands on a datagram, and returns how many cells it may have had; 0: there was none.
func (p *Polled) take() int {
	for {
		n, errno := receiveDatagram(p.fd, p.buf)
		switch errno {
		case 0:
			p.l.take(p.buf[:n], &p.cell)
			return max(n/atm.CellSize, 1)
		case unix.EAGAIN:
			return 0
		case unix.EINTR, unix.ECONNREFUSED, unix.ENETUNREACH, unix.EHOSTUNREACH: // of one that was sent
		default:
			return 0
		}
	}
}

// Processor is the one on which the kernel took in what came last, -1 if that is not known: what comes over the loopback is taken in where it is sent, unless the administrator
// has it spread over processors.
func (p *Polled) Processor() int {
	cpu, err := unix.GetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_INCOMING_CPU)
	if err != nil {
		return -1
	}
	return cpu
}

// Flush sends the cells that have been given to the link.
func (p *Polled) Flush() {
	if p.l.pending.Load() {
		p.l.flush()
	}
}

// read hands on what comes while nobody looks, until the link ends.
func (p *Polled) read() {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	for {
		_, _ = unix.Poll(fds, -1)
		p.reading.Lock()
		for p.attended.Load() && !p.closed.Load() {
			p.free.Wait()
		}
		if p.closed.Load() {
			p.reading.Unlock()
			return
		}
		if p.Poll() && p.came != nil {
			p.came()
		}
		p.reading.Unlock()
	}
}

// send sends a datagram.
func (p *Polled) send(b []byte) error {
	for {
		switch errno := sendDatagram(p.fd, b); errno {
		case 0:
			return nil
		case unix.EINTR:
		case unix.ECONNREFUSED: // of one that was sent before
		case unix.EAGAIN: // there is much to be sent
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLOUT}}, -1)
		default:
			return errno
		}
	}
}

// close ends the reader; nobody looks any more. The socket is closed by finish.
func (p *Polled) close() {
	p.reading.Lock()
	p.closed.Store(true)
	p.reading.Unlock()
	p.free.Signal()
	_ = unix.Shutdown(p.fd, unix.SHUT_RDWR) // wakes the reader
}

// finish closes the socket.
func (p *Polled) finish() { _ = unix.Close(p.fd) }
