package capture

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rmemrun/atm"
)

// The judge of what is written is Wireshark, by the dissectors that it has of its own wherever there are such:
//
//	HEC      of a cell of 53 octets     "Header Error Check: 0xec (correct)", "(error in bit 31)", "(uncorrectable error)"
//	CRC-10   of the same cell's 48      "CRC-10: 0x2e1 ( (correct))"; the dissector takes any payload for OAM, which has the
//	         same CRC-10 at the same place as AAL3/4
//	CRC-32   of an ERF AAL5 record      "AAL5 CRC: 0x676d20fc (correct)"

// nativeCells makes tshark take USER0 packets for ATM cells with their HEC.
var nativeCells = []string{"-o", `uat:user_dlts:"User 0 (DLT=147)","atm_oam_cell","0","","0",""`}

// tshark dissects a capture and returns its output. It skips the test if there is no tshark.
func tshark(t *testing.T, capture []byte, args ...string) string {
	t.Helper()
	program, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed: captures are not judged")
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"a.pcapng": capture, "rmem.lua": []byte(Lua)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, append([]string{"-n", "-r", "a.pcapng"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "LC_ALL=C.UTF-8", "WIRESHARK_RUN_FROM_BUILD_DIRECTORY=")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || strings.Contains(stderr.String(), "Lua") {
		t.Fatalf("tshark %v: %v\n%s", args, err, &stderr)
	}
	return string(out)
}

// fields returns the values of fields, a row a packet.
func fields(t *testing.T, capture []byte, args []string, names ...string) [][]string {
	t.Helper()
	args = append(slices.Clone(args), "-T", "fields", "-E", "separator=|", "-E", "occurrence=a")
	for _, n := range names {
		args = append(args, "-e", n)
	}
	var rows [][]string
	for line := range strings.Lines(tshark(t, capture, args...)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "|"))
	}
	return rows
}

// packetList returns what our dissector shows of all but the cells of PDUs in the packet list, for which Wireshark does not make the texts
// of the tree.
func packetList(t *testing.T, capture []byte) (all []string) {
	t.Helper()
	for line := range strings.Lines(tshark(t, capture, append([]string{"-o", `gui.column.format:"Info","%i"`}, withLua...)...)) {
		if info := strings.TrimSpace(line); !strings.Contains(info, "AAL5 cell") {
			all = append(all, info)
		}
	}
	return all
}

// verdicts returns what stands in brackets behind a name in tshark's full output, in order.
func verdicts(text, name string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if _, rest, ok := strings.Cut(line, name+": 0x"); ok {
			_, v, _ := strings.Cut(rest, "(")
			all = append(all, strings.Trim(v, "() \n"))
		}
	}
	return all
}

var withLua = []string{"-X", "lua_script:rmem.lua"}

// message makes an AAL3/4 cell with an operation word, given as in docs/protocol.md, and data.
func message(t *testing.T, vci uint16, seq int, word uint32, data string) *atm.Cell {
	t.Helper()
	m := binary.BigEndian.AppendUint32(nil, word)
	octets, err := hex.DecodeString(strings.ReplaceAll(data, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	var c atm.Cell
	c.SetHeader(atm.Header{VC: atm.VC{VCI: vci}})
	if err := atm.EncodeSSM(&c, uint8(seq&15), uint16(seq>>4), m, octets); err != nil {
		t.Fatal(err)
	}
	return &c
}

const key = "5e6f7081"

const forty = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627"

// Each kind of message in one cell, as the dissector describes it. The words are put together by hand from docs/protocol.md.
var messages = []struct {
	seq  int
	word uint32
	data string
	want string
}{
	{0, 1 << 28, forty, "write of 40 bytes at offset 0"},
	{1, 2<<28 | 1<<27 | 4096, key + forty[:52], "write of 26 bytes at offset 4096, notify"},
	{2, 2<<28 | 7, key + "aabbcc", "write of 3 bytes at offset 7"},
	{3, 2<<28 | 1<<27 | 7, key + "aa", "write of 1 byte at offset 7, notify"},
	{4, 3<<28 | 1<<27 - 1, key + "0000ffa0", "read of 65440 bytes at offset 134217727"},
	{5, 4<<28 | 8, key + "0000000000000001 fedcba9876543210", "cas of 8 bytes at offset 8, expected 0x0000000000000001, value 0xfedcba9876543210"},
	{6, 4<<28 | 8, key + "00000001 00000002", "cas of 4 bytes at offset 8, expected 0x0000000000000001, value 0x0000000000000002"},
	{7, 5<<28 | 1<<27 | 16, key + "0000000000000001", "fadd of 8 bytes at offset 16, addend 0x0000000000000001, notify"},
	{8, 6<<28 | 16, key + "00000007", "swap of 4 bytes at offset 16, value 0x0000000000000007"},
	{9, 7<<28 | 1<<27 | 24, key, "notification at offset 24"},
	{100, 8<<28 | 100, key + "00000000", "ack"},
	{16383, 8<<28 | 5<<19 | 16383, key + "00000000", "ack, refused: ESTALE"},
	{11, 9<<28 | 0xe6f7081, forty, "data of 40 bytes"},
	{12, 10<<28 | 12, key + "ffffffffffffffff", "old value 0xffffffffffffffff"},
	// What the protocol does not have.
	{13, 8<<28 | 12, key + "00000000", "malformed: a reply of number 12"},
	{14, 0, "00000000", "malformed: operation 0"},
	{14, 11 << 28, "00000000", "malformed: operation 11"},
	{14, 15 << 28, "00000000", "malformed: operation 15"},
	{15, 2 << 28, key, "malformed: a short write has 1 to 36 bytes"},
	{15, 1 << 28, forty[:72], "malformed: a write of up to 36 bytes has a key"},
	{16, 3 << 28, forty, "malformed: a read has a length of 4 bytes"},
	{17, 5 << 28, key + "0000000001", "malformed: operands of 5 bytes"},
	{18, 7 << 28, key, "malformed: a notification without N"},
	{18, 7<<28 | 1<<27, key + "00", "malformed: a notification has no data"},
	{19, 10<<28 | 19, key + "0000000000", "malformed: an old value of 5 bytes"},
}

func TestMessages(t *testing.T) {
	for _, link := range []Link{ERF, USER0} {
		w, b := begin(t, link)
		for _, m := range messages {
			w.Cell(0, "node0", Out, message(t, 36, m.seq, m.word, m.data), "")
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		rows := fields(t, b.Bytes(), withLua, "_ws.col.Info", "rmem.seq", "rmem.crc10.status", "_ws.expert.severity")
		if len(rows) != len(messages) {
			t.Fatalf("%v: %d packets of %d", link, len(rows), len(messages))
		}
		for i, m := range messages {
			severity := "" // of an error, and of a note, as Wireshark numbers them
			switch {
			case strings.HasPrefix(m.want, "malformed"):
				severity = "8388608"
			case strings.Contains(m.want, "refused"):
				severity = "4194304"
			}
			want := []string{fmt.Sprintf("0/36 #%d %s", m.seq, m.want), fmt.Sprint(m.seq), "correct", severity}
			if !slices.Equal(rows[i], want) {
				t.Errorf("%v: %08x: %q, want %q", link, m.word, rows[i], want)
			}
		}
	}
}

// block makes the cells of an AAL5 PDU from hexadecimal digits and a count of zeros.
func block(t *testing.T, vci uint16, digits string, zeros int) []*atm.Cell {
	t.Helper()
	octets, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return aal5(t, atm.VC{VCI: vci}, append(octets, make([]byte, zeros)...))
}

// Blocks and control messages, put together by hand likewise.
var blocks = []struct {
	vci    uint16
	digits string
	zeros  int
	want   string
}{
	{37, "18000003 5e6f7081 0000000000001000 0000000000002000", 4096, "#3 write of 4096 bytes at offset 8192, notify"},
	{37, "10000003 5e6f7081 00000000000186a0 00007fffffffffff", 65440, "#3 write of 65440 bytes at offset 140737488355327, the first of 100000"},
	{37, "30003fff 5e6f7081 000000000000ffa0 0000000008000000", 0, "#16383 read of 65440 bytes at offset 134217728"},
	{37, "50000001 5e6f7081 0000000000000004 0000000008000000 00000002", 0, "#1 fadd of 4 bytes at offset 134217728, addend 0x0000000000000002"},
	{37, "78000001 5e6f7081 0000000000000000 0000000008000000", 0, "#1 notification at offset 134217728"},
	{37, "90000005 5e6f7081 0000000000000064 0000000000000000", 100, "#5 data of 100 bytes"},
	{37, "00000005 5e6f7081 0000000000000064 0000000000000000", 0, "malformed: operation 0"},
	{37, "10000005", 0, "malformed: a block of 4 bytes"},
	{37, "10", 0, "malformed: a PDU of 1 bytes"},
	{33, "b0000002 00000001 00000002 00000003 00000003 00000024 00000026 00000001 5e6f7081 00003ffe", 0,
		"connect 1: segment 2 generation 3, rights read, write, VC 0/36 at the exporter, 0/38 at the importer"},
	{32, "c0000002 00000001 00000000 00001000 00000003 00000000 00000000 00010000 5e6f7081 00000200", 0, "reply 1: segment of 4096 bytes, rights read, write"},
	{32, "c0280002 00000001 00000000 00000000 00000000 00000000 00000000 00010000 00000000 00000000", 0, "reply 1, refused: ESTALE"},
	{32, "c0000002 00000002 00000000 00000000 00000000 00000000 00000000 00010000 00000000 00000000", 0, "reply 2"},
	{33, "d0000002 00000002 00000000 00000000 00000000 00000024 00000000 00000001 00000000 00000000", 0, "disconnect 2: VC 0/36 at the exporter"},
	{33, "d0000002 00000002", 0, "malformed: a control message has 40 bytes"},
	{33, "d0000002", 0, "malformed: a control message of 4 bytes"},
	{33, "b0000001 00000001 00000002 00000003 00000003 00000024 00000026", 0, "connect 1, of version 1"},
}

func TestBlocks(t *testing.T) {
	w, b := begin(t, ERF)
	w.aal5 = func(port string, vc atm.VC) bool { return vc.VCI < 34 || odd(port, vc) }
	for _, m := range blocks {
		for _, c := range block(t, m.vci, m.digits, m.zeros) {
			w.Cell(0, "node1", In, c, "")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	rows := fields(t, b.Bytes(), withLua, "erf.types.type", "_ws.col.Info")
	pdus, last := 0, 0
	for _, row := range rows {
		if row[0] != "4" {
			if strings.Contains(row[1], "last AAL5 cell") {
				last++
			} else if !strings.HasSuffix(row[1], " AAL5 cell") {
				t.Errorf("a cell is shown as %q", row[1])
			}
			continue
		}
		m := blocks[min(pdus, len(blocks)-1)]
		if want := fmt.Sprintf("0/%d %s", m.vci, m.want); row[1] != want {
			t.Errorf("%q, want %q", row[1], want)
		}
		pdus++
	}
	if pdus != len(blocks) || last != len(blocks) {
		t.Errorf("%d PDUs and %d last cells of %d", pdus, last, len(blocks))
	}
	for _, v := range verdicts(tshark(t, b.Bytes(), "-V"), "AAL5 CRC") {
		if v != "correct" {
			t.Errorf("CRC-32: %s", v)
		}
		pdus--
	}
	if pdus != 0 {
		t.Errorf("%d PDUs have no verdict", pdus)
	}
}

// Circuits of all virtual paths that there are, of one cell and of PDUs.
func TestVirtualPaths(t *testing.T) {
	for _, link := range []Link{ERF, USER0} {
		w, b := begin(t, link)
		var want []string
		for vpi := range uint8(16) {
			for _, vci := range []uint16{32, 36, 0xfffe} {
				c := message(t, vci, 3, 1<<28, forty)
				c.SetHeader(atm.Header{VC: atm.VC{VPI: vpi, VCI: vci}})
				w.Cell(0, "node0", Out, c, "")
				want = append(want, fmt.Sprintf("%d/%d #3 write of 40 bytes at offset 0", vpi, vci))
			}
			if link == USER0 {
				continue // it has no PDUs
			}
			for _, vci := range []uint16{33, 0xffff} {
				for _, c := range block(t, vci, "18000003 5e6f7081 0000000000001000 0000000000002000", 4096) {
					h, _ := c.Header()
					h.VC.VPI = vpi
					c.SetHeader(h)
					w.Cell(0, "node0", Out, c, "")
				}
				want = append(want, fmt.Sprintf("%d/%d #3 write of 4096 bytes at offset 8192, notify", vpi, vci))
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := packetList(t, b.Bytes()); !slices.Equal(got, want) {
			t.Errorf("%v: our dissector shows\n%s\nand not\n%s", link, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// A 40-byte write is one cell, with its circuit, direction, port and time, with and without our dissector.
func TestWriteOf40(t *testing.T) {
	w, b := begin(t, ERF)
	w.Cell(1, "node0", Out, message(t, 36, 3, 1<<28, forty), "")
	w.Cell(2, "node1", In, message(t, 38, 3, 1<<28, forty), "gap")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	names := []string{"frame.interface_name", "frame.time_epoch", "atm.vpi", "atm.vci", "atm.channel", "erf.flags.rxe", "frame.packet_flags_direction", "frame.comment"}
	want := [][]string{
		{"node0", "736257600.123456790", "0", "36", "0", "0", "0x00000002", ""},
		{"node1", "736257600.123456791", "0", "38", "1", "0", "0x00000001", "dropped: gap"},
	}
	for _, args := range [][]string{nil, withLua} {
		if rows := fields(t, b.Bytes(), args, names...); !slices.EqualFunc(rows, want, slices.Equal) {
			t.Errorf("%v: %q, want %q", args, rows, want)
		}
	}
	rows := fields(t, b.Bytes(), withLua, "_ws.col.Protocol", "_ws.col.Info", "rmem.op", "rmem.length", "rmem.data", "rmem.notify")
	if want := []string{"RMEM", "0/36 #3 write of 40 bytes at offset 0", "1", "40", forty, "0"}; !slices.Equal(rows[0], want) {
		t.Errorf("%q, want %q", rows[0], want)
	}
}

// A capture with errors that were put in has exactly those, in Wireshark's eyes and in those of our dissector.
func TestInjectedErrors(t *testing.T) {
	type injected struct {
		octet int
		mask  byte
		hec   string // of Wireshark, bit 0 is the first
		crc10 string
	}
	cases := []injected{
		{0, 0, "correct", "correct"},
		{0, 0x80, "error in bit 0", "correct"},
		{3, 0x02, "error in bit 30", "correct"},
		{4, 0x01, "error in bit 39", "correct"},
		{2, 0x81, "uncorrectable error", "correct"},
		{5, 0x80, "correct", "incorrect"},
		{20, 0x11, "correct", "incorrect"},
		{52, 0x01, "correct", "incorrect"},
		{0, 0, "correct", "correct"},
	}
	for bit := range 40 { // each bit of the header
		cases = append(cases, injected{bit / 8, 0x80 >> (bit % 8), fmt.Sprint("error in bit ", bit), "correct"})
	}
	w, b := begin(t, USER0)
	erf, e := begin(t, ERF)
	for i, k := range cases {
		c := message(t, 36, i, 1<<28, forty)
		c[k.octet] ^= k.mask
		drop := ""
		if k.mask != 0 {
			drop = "injected"
		}
		w.Cell(0, "node0", In, c, drop)
		erf.Cell(0, "node0", In, c, drop)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := erf.Close(); err != nil {
		t.Fatal(err)
	}
	text := tshark(t, b.Bytes(), append(nativeCells, "-V")...)
	hec, crc10 := verdicts(text, "Header Error Check"), verdicts(text, "CRC-10")
	ours := fields(t, b.Bytes(), withLua, "rmemcell.hec.status", "rmem.crc10.status", "frame.comment")
	records := fields(t, e.Bytes(), withLua, "erf.flags.rxe", "rmem.crc10.status")
	if len(hec) != len(cases) || len(crc10) != len(cases) || len(ours) != len(cases) || len(records) != len(cases) {
		t.Fatalf("%d, %d, %d, %d verdicts of %d", len(hec), len(crc10), len(ours), len(records), len(cases))
	}
	for i, k := range cases {
		if hec[i] != k.hec || crc10[i] != k.crc10 {
			t.Errorf("octet %d ^ %02x: Wireshark says HEC %s, CRC-10 %s", k.octet, k.mask, hec[i], crc10[i])
		}
		want := []string{strings.TrimSuffix(k.hec, " error"), k.crc10, ""}
		if k.hec != "correct" {
			want[1] = "" // not looked at
		}
		if k.mask != 0 {
			want[2] = "dropped: injected"
		}
		if !slices.Equal(ours[i], want) {
			t.Errorf("octet %d ^ %02x: we say %q, want %q", k.octet, k.mask, ours[i], want)
		}
		if bad := records[i][0] == "1"; bad != (k.hec != "correct") {
			t.Errorf("octet %d ^ %02x: receive error %v", k.octet, k.mask, bad)
		}
	}
}

// The same for AAL5: cells of a PDU are lost, exchanged, damaged, two PDUs joined. Where Length does not fit the cells, Wireshark does
// not look at the CRC-32 and gives no verdict; our dissector says so.
func TestInjectedCRC32(t *testing.T) {
	const correct, incorrect, length = "", "damaged PDU, CRC-32 incorrect", "damaged or truncated PDU, its Length does not fit its cells"
	w, b := begin(t, ERF)
	var want []string
	for i, change := range []struct {
		shown string
		make  func(cells []*atm.Cell) []*atm.Cell
	}{
		{correct, func(cells []*atm.Cell) []*atm.Cell { return cells }},
		{length, func(cells []*atm.Cell) []*atm.Cell { return slices.Delete(cells, 1, 2) }},
		{incorrect, func(cells []*atm.Cell) []*atm.Cell { cells[1] = cells[2]; return cells }}, // one is lost, one comes twice
		{incorrect, func(cells []*atm.Cell) []*atm.Cell { cells[0], cells[1] = cells[1], cells[0]; return cells }},
		{incorrect, func(cells []*atm.Cell) []*atm.Cell { cells[2][30] ^= 4; return cells }},
		{correct, func(cells []*atm.Cell) []*atm.Cell { return cells }},
		{length, func(cells []*atm.Cell) []*atm.Cell { return append(cells[:4:4], cells...) }}, // the last cell of the one before is lost
		{correct, func(cells []*atm.Cell) []*atm.Cell { return cells }},
	} {
		cells := block(t, 37, fmt.Sprintf("1000%04x 5e6f7081 00000000000000c8 0000000000002000 ", i)+strings.Repeat(forty, 5), 0)
		for _, c := range change.make(cells) {
			w.Cell(0, "node0", In, c, "")
		}
		if change.shown == correct {
			change.shown = fmt.Sprintf("#%d write of 200 bytes at offset 8192", i)
		}
		want = append(want, "0/37 "+change.shown)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := verdicts(tshark(t, b.Bytes(), "-V"), "AAL5 CRC")
	if !slices.Equal(got, []string{"correct", "incorrect", "incorrect", "incorrect", "correct", "correct"}) {
		t.Errorf("Wireshark's verdicts are %q", got)
	}
	var shown []string
	for _, row := range fields(t, b.Bytes(), withLua, "erf.types.type", "_ws.col.Info") {
		if row[0] == "4" {
			shown = append(shown, row[1])
		}
	}
	if !slices.Equal(shown, want) {
		t.Errorf("our dissector shows\n%s\nand not\n%s", strings.Join(shown, "\n"), strings.Join(want, "\n"))
	}
	if shown = packetList(t, b.Bytes()); !slices.Equal(shown, want) {
		t.Errorf("in the packet list our dissector shows\n%s\nand not\n%s", strings.Join(shown, "\n"), strings.Join(want, "\n"))
	}
}

// Headers whose HEC others computed: the idle and unassigned cells of I.361, and those that a Dynamips 0.2.24 switch sent; and
// AAL3/4 of several segments, OAM cells. They are written and Wireshark finds nothing wrong in them.
func TestKnownCells(t *testing.T) {
	headers := []string{
		"00000001 52", "00000000 55", "00000640 ec", "00000642 e2", "00000643 e5", "00000644 f0", "00000648 d4", "0000064a da",
		"0000064c c8", "00503090 71", "00503093 78", "00c0d050 d5", "0220d050 37", "0ffffff0 a5", "fff00010 98", "00000650 9c",
		"00000652 92", "00000660 0c",
	}
	payloads := []string{
		"1801cafe0001" + strings.Repeat("ff", 32) + strings.Repeat("6a", 8) + "02f5", // OAM loopback
		"10" + strings.Repeat("6a", 45) + "03b9", "11" + strings.Repeat("6a", 45) + "00af", "14" + strings.Repeat("6a", 45) + "0387",
		"c00500010020" + "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20" + "0001002000000000a2e1", // SSM
	}
	w, b := begin(t, USER0)
	for i, h := range headers {
		octets, err := hex.DecodeString(strings.ReplaceAll(h, " ", "") + payloads[i%len(payloads)])
		if err != nil || len(octets) != atm.CellSize {
			t.Fatalf("%s: %d octets, %v", h, len(octets), err)
		}
		w.Cell(0, "node0", In, (*atm.Cell)(octets), "")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text := tshark(t, b.Bytes(), append(nativeCells, "-V")...)
	for _, name := range []string{"Header Error Check", "CRC-10"} {
		got := verdicts(text, name)
		if len(got) != len(headers) || slices.ContainsFunc(got, func(v string) bool { return v != "correct" }) {
			t.Errorf("%s: %q", name, got)
		}
	}
	for i, row := range fields(t, b.Bytes(), withLua, "rmemcell.hec.status") {
		if row[0] != "correct" {
			t.Errorf("%s: our dissector says %s", headers[i], row[0])
		}
	}
}
