package link

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"rmemrun/atm"
)

// tcpConns makes a connection over 127.0.0.1.
func tcpConns(t testing.TB) (a, b net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if a, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func tcpPair(t testing.TB, toA, toB atm.Receiver) (a, b *TCP) {
	t.Helper()
	connA, connB := tcpConns(t)
	a, b = NewTCP(connA, toA), NewTCP(connB, toB)
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

func TestTCP(t *testing.T) {
	atA, atB := newSink(), newSink()
	a, b := tcpPair(t, atA, atB)
	testNumbered(t, a, b, atA, atB, 100, 5000)
	for _, l := range []*TCP{a, b} {
		until(t, "all cells counted as sent", func() bool { return l.Counters().Sent == 5000 }) // after they were
		if c, want := l.Counters(), (Counters{Sent: 5000, Received: 5000}); c != want {
			t.Errorf("%+v, want %+v", c, want)
		}
	}
}

// Cells sent before Close arrive; the other end sees that the link has ended.
func TestTCPClose(t *testing.T) {
	at := newSink()
	a, b := tcpPair(t, newSink(), at)
	for n := range 1000 {
		a.Receive(numbered(n))
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if a.Err() != nil {
		t.Error(a.Err())
	}
	<-b.Done()
	if len(at.get()) != 1000 {
		t.Errorf("%d cells came", len(at.get()))
	}
	if !errors.Is(b.Err(), io.EOF) {
		t.Errorf("the other end ended with %v", b.Err())
	}
	a.Receive(numbered(0))
	if c := a.Counters(); c.Overflow != 1 {
		t.Errorf("%+v", c)
	}
}

// A peer that takes nothing makes the link drop cells, and not grow.
func TestTCPOverflow(t *testing.T) {
	a, b := net.Pipe() // has no buffer
	defer b.Close()
	l := NewTCP(a, discard{})
	c := numbered(1)
	const limit = tcpWaiting/atm.CellSize + 1
	for range 2*limit + 2 { // one batch is being written, one waits
		l.Receive(c)
	}
	if n := l.Counters().Overflow; n == 0 || n > limit+2 {
		t.Errorf("%d cells dropped", n)
	}
	if len(l.waiting) > tcpWaiting+atm.CellSize {
		t.Errorf("%d octets wait", len(l.waiting))
	}
	_ = b.Close()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// Octets that are no cells, and cells with wrong headers, bring nothing to the receiver; the link goes on with the next right cells.
func TestTCPNoise(t *testing.T) {
	connA, connB := tcpConns(t)
	at := newSink()
	l := NewTCP(connB, at)
	defer l.Close()
	var line atm.Transmitter
	stream := bytes.Repeat([]byte{0xff}, 1000)
	stream = line.Append(stream, numbered(0))
	wrong := *numbered(9)
	wrong[0] ^= 0xff
	stream = line.Append(stream, &wrong)
	stream = line.Append(stream, numbered(1))
	if _, err := connA.Write(stream); err != nil {
		t.Fatal(err)
	}
	for n, got := range at.wait(t, 2) {
		if got != *numbered(n) {
			t.Errorf("cell %d is %x", n, got)
		}
	}
	if c := l.Counters(); c.Discarded != 1 {
		t.Errorf("%+v", c)
	}
	_ = connA.Close()
}

func TestTCPAllocs(t *testing.T) {
	a, _ := tcpPair(t, discard{}, discard{})
	c := numbered(1)
	for range 100000 { // its buffers grow as they are needed
		a.Receive(c)
	}
	if n := testing.AllocsPerRun(5000, func() { a.Receive(c) }); n != 0 {
		t.Errorf("%v allocations a cell", n)
	}
}
