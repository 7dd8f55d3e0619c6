package link

import (
	"runtime"
	"sync/atomic"
	"testing"

	"rmemrun/atm"
)

// A counter counts cells.
type counter struct{ n atomic.Uint64 }

func (c *counter) Receive(*atm.Cell) { c.n.Add(1) }

// Cells over 127.0.0.1 from one end to the other, at most so many on the way that no buffer overflows: what is measured is what
// arrives.
func BenchmarkLinks(b *testing.B) {
	for _, test := range []struct {
		name   string
		window uint64
		make   func(testing.TB, atm.Receiver) Link
	}{
		{"UDP MPLS", 2048, func(t testing.TB, to atm.Receiver) Link {
			l, _ := udpPair(t, UDPConfig{Local: loopback}, discard{}, to)
			return l
		}},
		{"UDP MPLS MTU 9000", 16384, func(t testing.TB, to atm.Receiver) Link {
			l, _ := udpPair(t, UDPConfig{Local: loopback, MTU: 9000}, discard{}, to)
			return l
		}},
		{"UDP bare", 128, func(t testing.TB, to atm.Receiver) Link {
			l, _ := udpPair(t, UDPConfig{Local: loopback, Form: Bare}, discard{}, to)
			return l
		}},
		{"TCP", 32768, func(t testing.TB, to atm.Receiver) Link {
			l, _ := tcpPair(t, discard{}, to)
			return l
		}},
	} {
		b.Run(test.name, func(b *testing.B) {
			var got counter
			l := test.make(b, &got)
			c := numbered(1)
			b.ReportAllocs()
			b.ResetTimer()
			for n := range uint64(b.N) {
				for n-got.n.Load() >= test.window {
					runtime.Gosched()
				}
				l.Receive(c)
			}
			for got.n.Load() < uint64(b.N) {
				runtime.Gosched()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cells/s")
		})
	}
}

// A cell there and back, one at a time.
func BenchmarkRoundTrip(b *testing.B) {
	for _, form := range []Form{MPLS, Bare} {
		b.Run("UDP "+form.String(), func(b *testing.B) {
			back := make(chan struct{}, 1)
			var far echo
			near, l := udpPair(b, UDPConfig{Local: loopback, Form: form}, bell(back), &far)
			far.l.Store(l)
			c := numbered(1)
			b.ResetTimer()
			for range b.N {
				near.Receive(c)
				<-back
			}
		})
	}
}

// A bell says that a cell has come.
type bell chan struct{}

func (b bell) Receive(*atm.Cell) { b <- struct{}{} }

// An echo sends back what comes.
type echo struct{ l atomic.Pointer[UDP] }

func (e *echo) Receive(c *atm.Cell) { e.l.Load().Receive(c) }
