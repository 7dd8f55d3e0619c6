//go:build linux && amd64

package stub

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rmemrun/decode"
)

// TestGenerated makes the image again and compares.
func TestGenerated(t *testing.T) {
	for _, tool := range []string{"gcc", "ld", "objcopy", "objdump", "readelf", "nm", "awk", "gofmt"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("the image cannot be made here:", err)
		}
	}
	version := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).Output()
		if err != nil {
			t.Fatal(name, err)
		}
		return strings.TrimSpace(string(out))
	}
	if here := fmt.Sprintf("gcc %s, %s", version("gcc", "-dumpfullversion"), version("ld", "-v")); here != compiler {
		t.Skipf("the image was made by %s; here is %s, which may choose other instructions", compiler, here)
	}
	dir := t.TempDir()
	if out, err := exec.Command("./generate.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("generate.sh: %v\n%s", err, out)
	}
	for _, name := range []string{"image_amd64.bin", "offsets_amd64.go"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what generate.sh makes of the sources: run go generate ./ring/stub", name)
		}
	}
}

// TestLayoutWhole makes sure that offsets.c leaves out no field: they cover their structs without holes.
func TestLayoutWhole(t *testing.T) {
	source, err := os.ReadFile("layout.h")
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]bool{}
	var of Field
	end := uintptr(0)
	check := func() {
		if end != of.Size {
			t.Errorf("the fields of struct %s end at %d, the struct at %d", of.Struct, end, of.Size)
		}
	}
	for _, f := range Layout {
		if f.Name == "" {
			if of.Struct != "" {
				check()
			}
			of, end = f, 0
			structs[f.Struct] = true
			continue
		}
		if f.Struct != of.Struct || f.Offset != end {
			t.Errorf("%s.%s is at %d, and the field before it ends at %d", f.Struct, f.Name, f.Offset, end)
		}
		end = f.Offset + f.Size
	}
	check()
	for _, m := range regexp.MustCompile(`(?m)^struct (\w+) \{`).FindAllSubmatch(source, -1) {
		if !structs[string(m[1])] {
			t.Errorf("offsets.c has no struct %s", m[1])
		}
	}
}

// TestEntries makes sure of which operations have stubs, and where.
func TestEntries(t *testing.T) {
	stubs := map[decode.Op]bool{
		decode.Write: true, decode.Read: true, decode.CAS: true, decode.FAdd: true, decode.Swap: true,
		decode.Fence: true, decode.Notify: true, decode.Wait: true, decode.Poll: true,
	}
	for op := range decode.Op(255) {
		at, ok := Entry(op)
		if ok != stubs[op] {
			t.Errorf("Entry(%v): %v", op, ok)
		}
		if ok && (at < Text || int(at) >= len(Image)) {
			t.Errorf("Entry(%v) = %#x, code is from %#x to %#x", op, at, Text, len(Image))
		}
	}
	if Frame < FrameSize+RedZone {
		t.Errorf("a frame of %d bytes and the red zone do not fit into %d", FrameSize, Frame)
	}
}
