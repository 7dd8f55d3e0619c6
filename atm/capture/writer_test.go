package capture

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/pcapgo"

	"rmemrun/atm"
)

var start = time.Date(1993, 5, 1, 12, 0, 0, 123456789, time.UTC)

// odd circuits carry AAL5, as those of the remote memory protocol.
func odd(_ string, vc atm.VC) bool { return vc.VCI&1 == 1 }

// begin begins a capture into memory.
func begin(t testing.TB, link Link) (*Writer, *bytes.Buffer) {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, Config{Link: link, Start: start, AAL5: odd, Ports: []string{"node0", "node1"}})
	if err != nil {
		t.Fatal(err)
	}
	return w, &b
}

// got is a packet as it was read back.
type got struct {
	port     string
	time     time.Time
	dir      Direction
	comments []string
	length   int // on the wire
	data     []byte
}

// read reads a capture by gopacket's reader.
func read(t testing.TB, w *Writer, b io.Reader) []got {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(b, pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var all []got
	for {
		data, info, options, err := r.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, readBack(t, r, data, info, options))
	}
}

func readBack(t testing.TB, r *pcapgo.NgReader, data []byte, info gopacket.CaptureInfo, options pcapgo.NgPacketOptions) got {
	t.Helper()
	port, err := r.Interface(info.InterfaceIndex)
	if err != nil {
		t.Fatal(err)
	}
	g := got{port: port.Name, time: info.Timestamp.UTC(), comments: options.Comments, length: info.Length, data: data}
	switch options.Flags.Direction {
	case pcapgo.NgEpbFlagDirectionInbound:
		g.dir = In
	case pcapgo.NgEpbFlagDirectionOutbound:
	default:
		t.Fatalf("a packet without direction: %+v", options)
	}
	return g
}

func ssm(t testing.TB, h atm.Header, message []byte) *atm.Cell {
	t.Helper()
	var c atm.Cell
	c.SetHeader(h)
	if err := atm.EncodeSSM(&c, 3, 5, message); err != nil {
		t.Fatal(err)
	}
	return &c
}

// aal5 makes the cells of an AAL5 PDU.
func aal5(t testing.TB, vc atm.VC, payload []byte) []*atm.Cell {
	t.Helper()
	var s atm.Segmenter
	if err := s.Begin(atm.Header{VC: vc}, 0, payload, nil); err != nil {
		t.Fatal(err)
	}
	var cells []*atm.Cell
	for {
		c := new(atm.Cell)
		if !s.Next(c) {
			return cells
		}
		cells = append(cells, c)
	}
}

// The record is compared with one that was put together by hand from the description of ERF.
func TestCellRecord(t *testing.T) {
	w, b := begin(t, ERF)
	c := ssm(t, atm.Header{VC: atm.VC{VCI: 34}}, make([]byte, 44))
	w.Cell(time.Second+1, "node1", In, c, "gap")
	all := read(t, w, b)
	if len(all) != 1 {
		t.Fatalf("%d packets", len(all))
	}
	g := all[0]
	// 0.123456790 · 2³² = 530242875 = 0x1f9add3b; 1 May 1993 12:00:01 is 0x2be26641.
	want := "3b dd 9a 1f 41 66 e2 2b" +
		" 03 05 00 44 00 00 00 34 00 00 02 20 " + hex.EncodeToString(c.Payload()[:])
	want = strings.ReplaceAll(want, " ", "")
	if hex.EncodeToString(g.data) != want {
		t.Errorf("the record is\n%x, want\n%s", g.data, want)
	}
	if g.port != "node1" || g.dir != In || g.length != len(g.data) || len(g.comments) != 1 || g.comments[0] != "dropped: gap" {
		t.Errorf("the packet is %+v", g)
	}
	if !g.time.Equal(start.Add(time.Second + 1)) {
		t.Errorf("its time is %v", g.time)
	}
}

func TestUSER0(t *testing.T) {
	w, b := begin(t, USER0)
	cells := aal5(t, atm.VC{VCI: 35}, make([]byte, 100))
	cells[1][4] ^= 1
	for _, c := range cells {
		w.Cell(0, "node0", Out, c, "")
	}
	all := read(t, w, b)
	if len(all) != len(cells) {
		t.Fatalf("%d packets of %d cells: there are no PDUs", len(all), len(cells))
	}
	for i, g := range all {
		if !bytes.Equal(g.data, cells[i][:]) || g.length != atm.CellSize || g.dir != Out || len(g.comments) != 0 {
			t.Errorf("cell %d: %+v", i, g)
		}
	}
}

// PDUs of circuits that are interleaved, in both directions and at two ports, are put together apart.
func TestPDUs(t *testing.T) {
	w, b := begin(t, ERF)
	type stream struct {
		port  string
		dir   Direction
		vci   uint16
		cells []*atm.Cell
	}
	var streams []*stream
	for i, port := range []string{"node0", "node1"} {
		for _, dir := range []Direction{Out, In} {
			for vci := uint16(35); vci <= 37; vci += 2 {
				payload := bytes.Repeat([]byte{byte(len(streams))}, 100+i*48)
				streams = append(streams, &stream{port, dir, vci, aal5(t, atm.VC{VCI: vci}, payload)})
			}
		}
	}
	for k := range 5 {
		for _, s := range streams {
			if k < len(s.cells) {
				w.Cell(0, s.port, s.dir, s.cells[k], "")
			}
		}
	}
	pdus := 0
	for _, g := range read(t, w, b) {
		if g.data[8] != erfAAL5 {
			continue
		}
		pdus++
		s := streams[g.data[20]]
		var want []byte
		for _, c := range s.cells {
			want = append(want, c.Payload()[:]...)
		}
		if g.port != s.port || g.dir != s.dir || !bytes.Equal(g.data[20:], want) {
			t.Errorf("%+v, want the PDU of %+v", g, s)
		}
		if vci := binary.BigEndian.Uint32(g.data[16:]) >> 4; vci != uint32(s.vci) {
			t.Errorf("VCI %d, want %d", vci, s.vci)
		}
	}
	if pdus != len(streams) {
		t.Errorf("%d PDUs of %d", pdus, len(streams))
	}
}

// What is no part of a PDU is not made one: cells with a damaged header, OAM, other circuits.
func TestNoPDU(t *testing.T) {
	w, b := begin(t, ERF)
	cells := aal5(t, atm.VC{VCI: 35}, make([]byte, 100))
	damaged, oam, other := *cells[0], *cells[0], *cells[2]
	damaged[4] ^= 1
	oam.SetHeader(atm.Header{VC: atm.VC{VCI: 35}, PT: atm.PTEndOAM})
	other.SetHeader(atm.Header{VC: atm.VC{VCI: 36}, PT: atm.PTUserEnd})
	for _, c := range []*atm.Cell{&damaged, cells[0], &oam, cells[1], &other, cells[2]} {
		w.Cell(0, "node0", In, c, "")
	}
	all := read(t, w, b)
	if len(all) != 7 || all[6].data[8] != erfAAL5 || len(all[6].data) != 20+3*atm.PayloadSize {
		t.Fatalf("%d packets: %+v", len(all), all)
	}
	for i, g := range all {
		if bad := g.data[9]&erfRxError != 0; bad != (i == 0) {
			t.Errorf("packet %d: receive error %v", i, bad)
		}
	}
}

// The longest PDU of the protocol fits a record; a longer one is truncated, and that is said.
func TestLongPDU(t *testing.T) {
	for _, c := range []struct {
		payload, octets int
		comment         string
	}{
		{1364*48 - 8, 1364 * 48, ""},
		{1364*48 - 7, 1364 * 48, "PDU of 1365 cells, truncated: an ERF record has no place for it"},
		{65535, 1364 * 48, "PDU of 1366 cells, truncated: an ERF record has no place for it"},
	} {
		w, b := begin(t, ERF)
		cells := aal5(t, atm.VC{VCI: 35}, make([]byte, c.payload))
		for _, cell := range cells {
			w.Cell(0, "node0", Out, cell, "")
		}
		all := read(t, w, b)
		g := all[len(all)-1]
		if len(all) != len(cells)+1 || len(g.data) != 20+c.octets || strings.Join(g.comments, ";") != c.comment {
			t.Fatalf("%d bytes: %d packets, the last of %d bytes with %q", c.payload, len(all), len(g.data), g.comments)
		}
		if truncated := g.data[9]&erfTruncated != 0; truncated != (c.comment != "") {
			t.Errorf("%d bytes: truncated %v", c.payload, truncated)
		}
	}
}

// Cells of PDUs that never end take no more than the limit, and then there are cells only, which is said once.
func TestEndlessPDUs(t *testing.T) {
	w, b := begin(t, USER0)
	w.link, w.aal5 = ERF, odd
	w.pdus.held = unfinishedMax - 3*(pduOverhead+64) // as if there were others
	for i := range uint16(10) {
		c := aal5(t, atm.VC{VCI: 35 + 2*i}, make([]byte, 100))[0]
		w.Cell(0, "node0", Out, c, "")
		if !w.pdus.off && len(w.pdus.open) != int(i)+1 {
			t.Fatalf("%d PDUs are open after %d", len(w.pdus.open), i+1)
		}
	}
	if !w.pdus.off || w.pdus.open != nil {
		t.Error("PDUs are put together still")
	}
	said := 0
	all := read(t, w, b)
	for _, g := range all {
		said += len(g.comments)
	}
	if len(all) != 10 || said != 1 {
		t.Errorf("%d packets, %d comments", len(all), said)
	}
}

// An endless PDU does not grow without end either.
func TestEndlessPDU(t *testing.T) {
	w, _ := begin(t, ERF)
	c := aal5(t, atm.VC{VCI: 35}, make([]byte, 100))[0]
	for range 5000 {
		w.Cell(0, "node0", Out, c, "")
	}
	p := w.pdus.open[circuit{0, Out, atm.VC{VCI: 35}}]
	if len(p.octets) != pduMax || p.length != 5000*48 || w.pdus.held != p.memory() {
		t.Errorf("%d octets of %d are held, %d counted", len(p.octets), p.length, w.pdus.held)
	}
}

func TestNewPort(t *testing.T) {
	w, b := begin(t, ERF)
	c := ssm(t, atm.Header{VC: atm.VC{VCI: 34}}, make([]byte, 44))
	for _, port := range []string{"node1", "trunk", "node0", "trunk"} {
		w.Cell(0, port, Out, c, "")
	}
	var ports []string
	for _, g := range read(t, w, b) {
		ports = append(ports, g.port)
	}
	if s := strings.Join(ports, " "); s != "node1 trunk node0 trunk" {
		t.Errorf("ports %s", s)
	}
}

func TestConcurrent(t *testing.T) {
	w, b := begin(t, ERF)
	const each = 200
	var all sync.WaitGroup
	for k := range 8 {
		all.Go(func() {
			cells := aal5(t, atm.VC{VCI: uint16(35 + 2*k)}, bytes.Repeat([]byte{byte(k)}, 88))
			for range each {
				for _, c := range cells {
					w.Cell(time.Duration(k), fmt.Sprint("node", k), In, c, "")
				}
			}
		})
	}
	all.Wait()
	pdus := 0
	for _, g := range read(t, w, b) {
		if g.data[8] == erfAAL5 {
			pdus++
			if k := g.data[20]; g.port != fmt.Sprint("node", k) || len(g.data) != 20+96 {
				t.Fatalf("%+v", g)
			}
		}
	}
	if pdus != 8*each {
		t.Errorf("%d PDUs", pdus)
	}
}

// A breaking file takes some bytes and then no more.
type breaking struct{ left int }

var errBroken = errors.New("it broke")

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) > b.left {
		return b.left, errBroken
	}
	b.left -= len(p)
	return len(p), nil
}

func TestWriteError(t *testing.T) {
	if _, err := NewWriter(&breaking{10}, Config{Ports: []string{"a"}}); !errors.Is(err, errBroken) {
		t.Errorf("the header: %v", err)
	}
	w, err := NewWriter(&breaking{3 * bufferSize / 2}, Config{Ports: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	c := ssm(t, atm.Header{VC: atm.VC{VCI: 34}}, make([]byte, 44))
	for w.err == nil {
		w.Cell(0, "a", Out, c, "")
	}
	for range 9 {
		w.Cell(0, "a", Out, c, "")
	}
	for range 2 {
		err = w.Close()
		if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), " 10 later cells") {
			t.Errorf("close: %v", err)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for _, cfg := range []Config{{}, {Link: linkCount, Ports: []string{"a"}}} {
		if w, err := NewWriter(io.Discard, cfg); err == nil {
			t.Errorf("%+v: %v", cfg, w)
		}
	}
	for _, l := range []Link{ERF, USER0} {
		if got, err := ParseLink(l.String()); got != l || err != nil {
			t.Errorf("%v: %v, %v", l, got, err)
		}
	}
	if l, err := ParseLink("ethernet"); err == nil || !strings.Contains(err.Error(), "user0") {
		t.Errorf("ethernet: %v, %v", l, err)
	}
}

// A reader of a pipe sees a packet without waiting for the next, or for Close.
func TestLive(t *testing.T) {
	out, in := io.Pipe()
	c := ssm(t, atm.Header{VC: atm.VC{VCI: 34}}, make([]byte, 44))
	ready := make(chan *Writer)
	go func() {
		w, err := NewWriter(in, Config{Ports: []string{"a"}})
		if err != nil {
			t.Error(err)
		}
		w.Cell(0, "a", Out, c, "")
		ready <- w
	}()
	r, err := pcapgo.NewNgReader(out, pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	data, _, err := r.ReadPacketData()
	if err != nil || !bytes.Equal(data[20:], c.Payload()[:]) {
		t.Errorf("%x, %v", data, err)
	}
	w := <-ready
	in.Close()
	if err := w.Close(); err != nil { // nothing is left to write
		t.Error(err)
	}
	w.Cell(0, "a", Out, c, "") // after Close: nothing happens
}

// A reader that is slow holds up the network and loses nothing.
func TestSlowReader(t *testing.T) {
	out, in := io.Pipe()
	const cells = 4000 // several buffers
	go func() {
		w, err := NewWriter(in, Config{Ports: []string{"a"}})
		if err != nil {
			t.Error(err)
		}
		var c atm.Cell
		for i := range uint16(cells) {
			c.SetHeader(atm.Header{VC: atm.VC{VCI: i}})
			w.Cell(0, "a", Out, &c, "")
		}
		in.CloseWithError(errors.Join(io.EOF, w.Close()))
	}()
	r, err := pcapgo.NewNgReader(&slow{r: out}, pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(cells) {
		data, _, err := r.ReadPacketData()
		if err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		if vci := binary.BigEndian.Uint32(data[16:]) >> 4; vci != i {
			t.Fatalf("packet %d is that of circuit %d", i, vci)
		}
	}
}

// A slow reader sleeps at first and then takes little at a time.
type slow struct {
	r     io.Reader
	awake bool
}

func (s *slow) Read(p []byte) (int, error) {
	if !s.awake {
		s.awake = true
		time.Sleep(3 * FlushInterval) // the timer finds the buffer being written
	}
	return s.r.Read(p[:min(len(p), 1000)])
}

func TestAllocs(t *testing.T) {
	for _, link := range []Link{ERF, USER0} {
		w, err := NewWriter(io.Discard, Config{Link: link, AAL5: odd, Ports: []string{"a"}})
		if err != nil {
			t.Fatal(err)
		}
		one := ssm(t, atm.Header{VC: atm.VC{VCI: 34}}, make([]byte, 44))
		many := aal5(t, atm.VC{VCI: 35}, make([]byte, 4096))
		n := testing.AllocsPerRun(100, func() {
			w.Cell(0, "a", Out, one, "")
			for _, c := range many {
				w.Cell(0, "a", Out, c, "")
			}
		})
		t.Logf("%v: %.2f allocations a packet", link, n/float64(len(many)+2))
		// gopacket makes a list of one option, and boxes that.
		if limit := float64(2 * (len(many) + 2)); n > limit {
			t.Errorf("%v: %v allocations for %d cells", link, n, len(many)+1)
		}
	}
}

func BenchmarkCell(b *testing.B) {
	w, err := NewWriter(io.Discard, Config{AAL5: odd, Ports: []string{"a"}})
	if err != nil {
		b.Fatal(err)
	}
	c := ssm(b, atm.Header{VC: atm.VC{VCI: 34}}, make([]byte, 44))
	for b.Loop() {
		w.Cell(0, "a", Out, c, "")
	}
}

// Whatever cells come, gopacket reads what was written, packet by packet.
func FuzzReadable(f *testing.F) {
	c := ssm(f, atm.Header{VC: atm.VC{VCI: 34}}, make([]byte, 44))
	f.Add(c[:], uint8(0), "gap")
	var pdu []byte
	for _, c := range aal5(f, atm.VC{VCI: 35}, make([]byte, 100)) {
		pdu = append(pdu, c[:]...)
	}
	f.Add(pdu, uint8(3), "")
	f.Add(bytes.Repeat([]byte{0xff}, 200), uint8(0xa5), "a\x00b\n\xff")
	f.Fuzz(func(t *testing.T, octets []byte, how uint8, drop string) {
		if len(drop) > 1000 {
			t.Skip("reasons are words")
		}
		w, b := begin(t, Link(how>>1&1))
		var cells int
		var c atm.Cell
		for ; len(octets) > 0 && cells < 3000; cells++ {
			octets = octets[copy(c[:], octets):]
			if how&4 != 0 { // else the HEC is seldom right
				h, _ := c.Header()
				c.SetHeader(h)
			}
			w.Cell(time.Duration(cells)<<how, fmt.Sprint("node", int(c[3])%3), Direction(how&1), &c, drop)
		}
		all := read(t, w, b)
		seen := 0
		for _, g := range all {
			if w.link == ERF && (int(binary.BigEndian.Uint16(g.data[10:])) != len(g.data) || g.data[8] != erfATM && g.data[8] != erfAAL5) {
				t.Fatalf("a record of %d bytes: %x", len(g.data), g.data[:20])
			}
			if w.link == USER0 || g.data[8] == erfATM {
				seen++
			}
			if dropped := len(g.comments) > 0; dropped != (drop != "") || dropped && g.comments[0] != "dropped: "+drop {
				t.Fatalf("comments %q", g.comments)
			}
		}
		if seen != cells {
			t.Fatalf("%d cells of %d", seen, cells)
		}
	})
}
