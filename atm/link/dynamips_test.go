package link

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"rmemrun/atm"
)

// A third-party switch: the ATM switch of Dynamips 0.2.24, whose ports take one bare cell a datagram. The tests below run against the real one
// if it is installed (its "atmsw" needs no router image), and against one written here after what the real one was seen to do,
// so that they say something without it, too.
//
// Port A has the circuits 0/100 to 5/777 at port B, and back; and the path 12 to 34. They are one direction each.

// A thirdParty is a running switch: where its ports A and B receive.
type thirdParty struct{ a, b netip.AddrPort }

// freePort is a UDP port of 127.0.0.1 that nobody has.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// dynamips starts the real one, with its ports connected to two addresses.
func dynamips(t *testing.T, toA, toB netip.AddrPort) thirdParty {
	program, err := exec.LookPath("dynamips")
	if err != nil {
		t.Skip("dynamips is not installed (Debian has it in non-free): only the switch written after it is tested")
	}
	hypervisor := freePort(t).String()
	cmd := exec.Command(program, "-H", hypervisor)
	cmd.Dir = t.TempDir()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("dynamips:\n%s", &log)
		}
	})
	var conn net.Conn
	until(t, "dynamips listens", func() bool {
		conn, err = net.Dial("tcp", hypervisor)
		return err == nil
	})
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	ports := thirdParty{freePort(t), freePort(t)}
	answers := bufio.NewReader(conn)
	for _, command := range []string{
		fmt.Sprintf("nio create_udp A %d 127.0.0.1 %d", ports.a.Port(), toA.Port()),
		fmt.Sprintf("nio create_udp B %d 127.0.0.1 %d", ports.b.Port(), toB.Port()),
		"atmsw create SW",
		"atmsw create_vcc SW A 0 100 B 5 777",
		"atmsw create_vcc SW B 5 777 A 0 100",
		"atmsw create_vpc SW A 12 B 34",
	} {
		fmt.Fprintf(conn, "%s\r\n", command)
		for {
			line, err := answers.ReadString('\n')
			if err != nil {
				t.Fatalf("dynamips: %q: %v", command, err)
			}
			if strings.HasPrefix(line, "100-") {
				break
			}
			if strings.HasPrefix(line, "2") {
				t.Fatalf("dynamips: %q: %s", command, line)
			}
		}
	}
	return ports
}

// likeDynamips starts a switch that does what Dynamips was seen to do: exactly one cell of 53 octets a datagram; headers read as at
// the NNI, VPI of 12 bits; the HEC not looked at, and computed anew; PT and CLP as they are; everything else dropped.
func likeDynamips(t *testing.T, toA, toB netip.AddrPort) thirdParty {
	type circuit struct{ port, vpi, vci int }
	vcc := map[circuit]circuit{{0, 0, 100}: {1, 5, 777}, {1, 5, 777}: {0, 0, 100}}
	vpc := map[circuit]circuit{{0, 12, 0}: {1, 34, 0}}
	var conns [2]*net.UDPConn
	for i, to := range []netip.AddrPort{toA, toB} {
		conn, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(loopback), net.UDPAddrFromAddrPort(to))
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
	}
	var wg sync.WaitGroup
	for in := range conns {
		wg.Go(func() {
			b := make([]byte, 100)
			for {
				n, err := conns[in].Read(b)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil || n != 53 {
					continue
				}
				w := binary.BigEndian.Uint32(b)
				vpi, vci := int(w>>20), int(w>>4&0xffff)
				out, ok := vcc[circuit{in, vpi, vci}]
				if !ok {
					if out, ok = vpc[circuit{in, vpi, 0}]; !ok {
						continue
					}
					out.vci = vci
				}
				binary.BigEndian.PutUint32(b, uint32(out.vpi)<<20|uint32(out.vci)<<4|w&0xf)
				r := uint64(binary.BigEndian.Uint32(b)) << 8 // the HEC, by division
				for bit := 39; bit >= 8; bit-- {
					if r>>bit&1 == 1 {
						r ^= 0x107 << (bit - 8)
					}
				}
				b[4] = byte(r) ^ 0x55
				_, _ = conns[out.port].Write(b[:n])
			}
		})
	}
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
		wg.Wait()
	})
	return thirdParty{conns[0].LocalAddr().(*net.UDPAddr).AddrPort(), conns[1].LocalAddr().(*net.UDPAddr).AddrPort()}
}

func TestThirdPartySwitch(t *testing.T) {
	for _, test := range []struct {
		name  string
		start func(t *testing.T, toA, toB netip.AddrPort) thirdParty
	}{{"dynamips", dynamips}, {"like dynamips", likeDynamips}} {
		t.Run(test.name, func(t *testing.T) {
			localA, localB := freePort(t), freePort(t)
			sw := test.start(t, localA, localB)
			atA, atB := newSink(), newSink()
			var links [2]*UDP
			for i, cfg := range []UDPConfig{{Local: localA, Peer: sw.a, Form: Bare}, {Local: localB, Peer: sw.b, Form: Bare}} {
				l, err := DialUDP(cfg, []atm.Receiver{atA, atB}[i])
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				links[i] = l
			}
			headers := func(cells []atm.Cell) (s []string) {
				for _, c := range cells {
					s = append(s, fmt.Sprintf("%x", c[:atm.HeaderSize]))
				}
				return s
			}
			raw := func(header string) *atm.Cell {
				var c atm.Cell
				copy(c[:], unhex(t, header))
				copy(c[5:], "forty-eight octets of payload, none of them lost")
				return &c
			}

			// All of these headers, what goes in and what comes out, are those that Dynamips 0.2.24 took and gave.
			forth := [][2]string{
				{"00000640ec", "0050309071"}, // 0/100 to 5/777
				{"00000643e5", "0050309378"}, // PT 001, CLP
				{"00000644f0", "005030946d"}, // PT 010: congestion
				{"00000648d4", "0050309849"}, // PT 100: OAM
				{"0000064cc8", "0050309c55"}, // PT 110: resource management
				{"00c0d050d5", "0220d05037"}, // path 12 to 34: the VCI stays
			}
			var want []string
			for _, h := range forth {
				links[0].Receive(raw(h[0]))
				want = append(want, h[1])
			}
			got := atB.wait(t, len(forth))
			if fmt.Sprint(headers(got)) != fmt.Sprint(want) {
				t.Errorf("from A came %v, want %v", headers(got), want)
			}
			for i := range got {
				if !bytes.Equal(got[i][5:], raw("")[5:]) {
					t.Errorf("payload %q", got[i][5:])
				}
				if h, ok := got[i].Header(); !ok || h.GFC != 0 {
					t.Errorf("cell %d: header %+v, HEC right: %t", i, h, ok)
				}
			}
			links[1].Receive(raw("0050309071"))
			if got := headers(atA.wait(t, 1)); got[0] != "00000640ec" {
				t.Errorf("from B came %v", got)
			}

			// What it drops: circuits it does not have, the empty cell, other sizes. GFC is the upper part of its VPI. The HEC it does not check.
			for _, h := range []string{"00000660" + "0c", "00000001" + "52", "10000640" + "00"} {
				c := raw(h)
				c[4] = atm.HEC([4]byte(c[:4]))
				links[0].Receive(c)
			}
			for _, n := range []int{52, 54, 106} {
				b := make([]byte, n)
				copy(b, unhex(t, "00000640ec"))
				send(t, links[0].conn, b, sw.a)
			}
			links[0].Receive(raw("00000640ed")) // a wrong HEC
			atB.wait(t, len(forth)+1)
			links[0].Receive(raw("00000643e5"))
			got = atB.wait(t, len(forth)+2)
			if h := headers(got)[len(forth):]; fmt.Sprint(h) != "[0050309071 0050309378]" {
				t.Errorf("after what is to be dropped came %v", h)
			}
			for i, l := range links {
				if c := l.Counters(); c.Strangers+c.Malformed+c.Unsent+c.BadHEC != 0 {
					t.Errorf("link %d: %+v", i, c)
				}
			}
		})
	}
}
