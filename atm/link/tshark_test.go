package link

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"rmemrun/atm"
)

// Wireshark's own dissectors take apart what a link has sent: MPLS in UDP, the pseudowire, and each cell.
func TestTshark(t *testing.T) {
	program, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed: packets are not judged")
	}
	l, peer := rawPeer(t, MPLS, newSink())
	cells := []*atm.Cell{
		cell(atm.Header{VC: atm.VC{VPI: 5, VCI: 777}}, 0xaa),
		cell(atm.Header{VC: atm.VC{VPI: 255, VCI: 65535}, PT: atm.PTUserEnd, CLP: true}, 0xbb),
		cell(atm.Header{VC: atm.VC{VPI: 0, VCI: 100}, PT: 0b010}, 0xcc),
	}
	l.writing.Lock() // so that the packets are one of 28 cells and one of 2
	for n := range 30 {
		l.Receive(cells[n%3])
	}
	l.writing.Unlock()

	file := filepath.Join(t.TempDir(), "link.pcap")
	var capture bytes.Buffer
	w := pcapgo.NewWriter(&capture)
	if err := w.WriteFileHeader(1<<16, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, maxUDP)
	for range 2 {
		if err := peer.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, _, err := peer.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		// The addresses are those of a link between two machines: here the ports were free ones.
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IP{192, 0, 2, 1}, DstIP: net.IP{192, 0, 2, 2}}
		udp := &layers.UDP{SrcPort: 50000, DstPort: MPLSPort}
		if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		packet := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(packet, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, udp, gopacket.Payload(buf[:n])); err != nil {
			t.Fatal(err)
		}
		info := gopacket.CaptureInfo{Timestamp: time.Unix(0, 0), CaptureLength: len(packet.Bytes()), Length: len(packet.Bytes())}
		if err := w.WritePacket(info, packet.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, capture.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	tshark := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(program, append([]string{"-n", "-r", file, "-d", "mpls.label==1000,mplspwatmn1cw"}, args...)...)
		home := t.TempDir()
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "LC_ALL=C.UTF-8")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("tshark: %v\n%s", err, &stderr)
		}
		return string(out)
	}

	fields := []string{
		"ip.len", "mpls.label", "mpls.exp", "mpls.bottom", "mpls.ttl",
		"pw.cw.flags", "pw.cw.length", "pw.cw.seqno", "pw.atm.n1_cw.cells",
		"atm.vpi", "atm.vci", "atm.pti", "atm.clp", "_ws.expert.message",
	}
	args := []string{"-T", "fields", "-E", "separator=|"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	rows := strings.Split(strings.TrimSpace(tshark(args...)), "\n")
	if len(rows) != 2 {
		t.Fatalf("%d packets:\n%s", len(rows), strings.Join(rows, "\n"))
	}
	sent := 0
	for i, n := range []int{28, 2} {
		of := make(map[string][]string)
		for k, v := range strings.Split(rows[i], "|") {
			if v != "" {
				of[fields[k]] = strings.Split(v, ",")
			}
		}
		for name, want := range map[string]string{
			"ip.len": strconv.Itoa(20 + 8 + 4 + 4 + 52*n), "mpls.label": "1000", "mpls.exp": "0", "mpls.bottom": "1", "mpls.ttl": "255",
			"pw.cw.flags": "0x00", "pw.cw.length": "0", "pw.cw.seqno": strconv.Itoa(i + 1), "pw.atm.n1_cw.cells": strconv.Itoa(n), "_ws.expert.message": "",
		} {
			if got := strings.Join(of[name], ","); got != want {
				t.Errorf("packet %d: %s is %q, want %q", i+1, name, got, want)
			}
		}
		var want, got [4][]string
		for range n {
			h, _ := cells[sent%3].Header()
			clp := 0
			if h.CLP {
				clp = 1
			}
			for k, v := range []int{int(h.VC.VPI), int(h.VC.VCI), int(h.PT), clp} {
				want[k] = append(want[k], strconv.Itoa(v))
			}
			sent++
		}
		for k, name := range []string{"atm.vpi", "atm.vci", "atm.pti", "atm.clp"} {
			for _, v := range of[name] {
				number, err := strconv.ParseUint(v, 0, 16)
				if err != nil {
					t.Fatalf("packet %d: %s is %v", i+1, name, of[name])
				}
				got[k] = append(got[k], strconv.FormatUint(number, 10))
			}
			if fmt.Sprint(got[k]) != fmt.Sprint(want[k]) {
				t.Errorf("packet %d: %s is %v, want %v", i+1, name, got[k], want[k])
			}
		}
	}
}
