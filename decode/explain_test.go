package decode

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/explain.txt anew")

// TestExplain compares the drawings of some instructions with testdata/explain.txt.
func TestExplain(t *testing.T) {
	var got strings.Builder
	for _, c := range []struct {
		arch Arch
		code string
	}{
		{ArchAMD64, "0fb99c3e01060d5a"},
		{ArchAMD64, "470fb9bcf700080d5a"},
		{ArchAMD64, "0fb98400000e0d5a"},
		{ArchAMD64, "0fb99cbe02070d5a"},
		{ArchARM64, "37b50000a3900000"},
		{ArchARM64, "46b50000a3900000"},
	} {
		code, err := hex.DecodeString(c.code)
		if err != nil {
			t.Fatal(err)
		}
		text, err := Explain(c.arch, code)
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString(text)
		got.WriteString("\n")
	}
	if *update {
		if err := os.WriteFile("testdata/explain.txt", []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/explain.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("-testdata/explain.txt +got:\n%s", diff)
	}
}

// TestExplainBits reads the drawn bits of every instruction back: put together,
// they are the encoding.
func TestExplainBits(t *testing.T) {
	for arch := range decoders {
		for i := range valid(arch) {
			code, err := Encode(i)
			if err != nil {
				t.Fatal(err)
			}
			text, err := Explain(arch, code)
			if err != nil {
				t.Fatal(err)
			}
			bits := strings.NewReplacer("|", "", " ", "").Replace(strings.Split(text, "\n")[4])
			var want strings.Builder
			// The 32-bit units are little endian.
			end := len(code)
			for _, size := range map[Arch][]int{ArchAMD64: {4}, ArchARM64: {4, 4}}[arch] {
				end -= size
			}
			for _, b := range code[:end] {
				fmt.Fprintf(&want, "%08b", b)
			}
			for ; end < len(code); end += 4 {
				for n := 3; n >= 0; n-- {
					fmt.Fprintf(&want, "%08b", code[end+n])
				}
			}
			if bits != want.String() {
				t.Fatalf("% x: drawn as\n%s\nwant the bits %s", code, text, &want)
			}
		}
	}
}

func TestExplainRefuses(t *testing.T) {
	for _, code := range []string{"", "0f0b", "0fb99c3e01060d", "0fb99c3e01060d5a90"} {
		b, err := hex.DecodeString(code)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := Explain(ArchAMD64, b); !errors.Is(err, ErrForeign) && err != ErrTruncated {
			t.Errorf("%s: explained as %q, error %v", code, text, err)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		v    uint64
		want string
	}{
		{KindAddress, 0x7fff12345678, "0x7fff12345678"},
		{KindSize, 1 << 63, "9223372036854775808"},
		{KindWord, 10, "0xa"},
		{KindInt, 0xffffffff, "-1"},
		{KindInt, 0xdeadbeef00000005, "5"},
		{KindDescriptor, 3, "3"},
		{KindDescriptor, Every, "EVERY"},
		{KindDescriptor, 0xabc0000000000000 | Every, "EVERY"},
		{KindRights, 0, "0"},
		{KindRights, 3, "READ|WRITE"},
		{KindRights, 0xf, "READ|WRITE|ATOMIC|QUIET"},
		{KindRights, 0x14, "ATOMIC|0x10"},
	} {
		if got := (Operand{Kind: c.kind}).Format(c.v); got != c.want {
			t.Errorf("kind %d, %#x: %q, want %q", c.kind, c.v, got, c.want)
		}
	}
}
