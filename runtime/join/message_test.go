package join

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"rmemrun/atm"
	"rmemrun/rmem"
)

func TestMessageGolden(t *testing.T) {
	for want, m := range map[string]message{
		"01 0102 03040506 0708090a 6e616d65": {kind: publish, node: 0x102, record: rmem.Record{Segment: 0x3040506, Generation: 0x708090a}, name: "name"},
		"02 0102 00":                         {kind: withdraw, node: 0x102, name: "\x00"},
		"03 0102":                            {kind: leave, node: 0x102},
		"04 0102 0304 05060708 090a 0b0c":    {kind: open, node: 0x102, to: 0x304, id: 0x5060708, trunk: 0x90a, vci: 0xb0c},
		"05 05060708":                        {kind: closeCircuit, id: 0x5060708},
	} {
		want = strings.ReplaceAll(want, " ", "")
		b := m.append(nil)
		if got := hex.EncodeToString(b); got != want {
			t.Errorf("%+v is %s, want %s", m, got, want)
		}
		if again, err := parseMessage(b); err != nil || again != m {
			t.Errorf("%s is read as %+v, %v", want, again, err)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range []message{
		{kind: publish, name: "name"}, {kind: withdraw, name: "name"}, {kind: leave}, {kind: ended, node: 1}, {kind: open, trunk: 32, vci: 32}, {kind: closeCircuit},
	} {
		f.Add(m.append(nil))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		if again := m.append(nil); !bytes.Equal(again, b) || len(b) > maxMessage {
			t.Fatalf("%x is read as %x", b, again)
		}
	})
}

func TestGreetingGolden(t *testing.T) {
	g := greeting{version: 2, kind: confirm, reason: 0, nodes: 0x0203, nonce: 0x0405060708090a0b, cookie: 0x0c0d0e0f10111213}
	var b [greetingSize]byte
	g.put(&b, []byte("secret"))
	// The MAC was computed by: printf 726d656d… | xxd -r -p | openssl dgst -sha256 -hmac secret
	want := "726d656d" + "0002" + "03" + "00" + "0203" + "0000" + "0405060708090a0b" + "0c0d0e0f10111213" + "49277c439c8a0f4154289961"
	if got := hex.EncodeToString(b[:]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	again, ok, authentic := parseGreeting(b[:], []byte("secret"))
	if !ok || !authentic || !reflect.DeepEqual(again, g) {
		t.Errorf("read as %+v, %t, %t", again, ok, authentic)
	}
	if _, ok, authentic := parseGreeting(b[:], []byte("Secret")); !ok || authentic {
		t.Errorf("with another secret: %t, %t", ok, authentic)
	}
	for bit := range 8 * greetingSize { // no bit can be changed
		wrong := b
		wrong[bit/8] ^= 0x80 >> (bit % 8)
		if _, _, authentic := parseGreeting(wrong[:], []byte("secret")); authentic {
			t.Errorf("bit %d changed: authentic", bit)
		}
	}
	// Of another version, all but the first eight octets may be anything.
	other, ok, authentic := parseGreeting([]byte("rmem\x12\x34\x05\x01"), nil)
	if !ok || authentic || other.version != 0x1234 || other.kind != refuse || other.reason != refusedVersion {
		t.Errorf("another version: %+v, %t, %t", other, ok, authentic)
	}
}

func FuzzGreeting(f *testing.F) {
	g := greeting{version: Version, kind: hello, nodes: 1}
	c := g.cell(nil)
	f.Add(c[:])
	g.version++
	c = g.cell(nil)
	f.Add(c[:])
	f.Fuzz(func(t *testing.T, b []byte) {
		var c atm.Cell
		copy(c[:], b)
		g, ok, authentic := readGreeting(&c, nil)
		if authentic && (!ok || *g.cell(nil) != c) {
			t.Fatalf("%x is read as %+v", c, g)
		}
	})
}
