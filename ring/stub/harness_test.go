//go:build linux && amd64

package stub

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rmemrun/atm"
	"rmemrun/decode"
)

// harness is testdata/harness.c, compiled; it runs the image in its own process.
var harness struct {
	once        sync.Once
	dir         string
	path, image string
	err         error
}

func TestMain(m *testing.M) {
	status := m.Run()
	if harness.dir != "" {
		os.RemoveAll(harness.dir)
	}
	os.Exit(status)
}

func buildHarness() error {
	dir, err := os.MkdirTemp("", "stub")
	if err != nil {
		return err
	}
	harness.dir, harness.path, harness.image = dir, filepath.Join(dir, "harness"), filepath.Join(dir, "image")
	if err := os.WriteFile(harness.image, Image, 0o644); err != nil {
		return err
	}
	var list strings.Builder
	for op := range entries {
		if at, ok := Entry(decode.Op(op)); ok {
			fmt.Fprintf(&list, "[%d] = %d, ", op, at)
		}
	}
	gcc := exec.Command("gcc", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-parentheses", "-no-pie", "-fno-pie", "-pthread",
		fmt.Sprintf("-DENTER=%d", Enter), fmt.Sprintf("-DSAVED=%d", Saved), fmt.Sprintf("-DHELP=%d", Help), fmt.Sprintf("-DFAULT=%d", Fault),
		"-DENTRIES="+list.String(), "-o", harness.path, "testdata/harness.c")
	if out, err := gcc.CombinedOutput(); err != nil {
		return fmt.Errorf("compile testdata/harness.c: %v\n%s", err, out)
	}
	return nil
}

// runHarness runs a test of the harness and returns what it has printed.
func runHarness(t testing.TB, args ...string) []byte {
	t.Helper()
	if !Supported() {
		t.Skip("the processor has no PCLMULQDQ: guests trap")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc, which compiles the harness:", err)
	}
	if harness.once.Do(func() { harness.err = buildHarness() }); harness.err != nil {
		t.Fatal(harness.err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, harness.path, append([]string{harness.image}, args...)...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("harness %v: %v\n%s", args, err, stderr.Bytes())
	}
	return out
}

// rounds is how often a test does what it does, less often if tests are to be short.
func rounds(long, short int) string {
	if testing.Short() {
		return fmt.Sprint(short)
	}
	return fmt.Sprint(long)
}

// Registers, flags in all combinations, the red zone and the vector state are what they were, but for results.
func TestRegisters(t *testing.T) { t.Logf("%s", runHarness(t, "registers", rounds(100000, 20000))) }

// Random operations of one guest, served by another's poll, against a model; indices wrap at 2^32 and 2^64.
func TestOperations(t *testing.T) {
	t.Logf("%s", runHarness(t, "operations", rounds(20000, 2000)))
}

// Threads that share a ring lose nothing and do nothing twice.
func TestThreads(t *testing.T) { t.Logf("%s", runHarness(t, "threads", rounds(1000, 100))) }

// Two guests wait for each other's notifications.
func TestWaits(t *testing.T) { t.Logf("%s", runHarness(t, "waits", rounds(5000, 500))) }

// Nothing that an initiator may write into its ring changes memory outside of the segment, or within against the rights.
func TestHostile(t *testing.T) {
	t.Logf("%s", runHarness(t, "hostile", rounds(1000000, 100000), fmt.Sprint(time.Now().UnixNano())))
}

// Memory that is not mapped, of the initiator and of the exporter.
func TestFaults(t *testing.T) { runHarness(t, "faults") }

// Full rings, refusals, and who asks for help.
func TestFull(t *testing.T) { runHarness(t, "full") }

// An agent that sleeps is woken.
func TestBell(t *testing.T) { runHarness(t, "bell") }

// Who is told that a segment has ended has help first.
func TestRefused(t *testing.T) { runHarness(t, "refused") }

// A wait looks for as long as its board says.
func TestDwelling(t *testing.T) { runHarness(t, "dwelling") }

// TestCells compares what stubs publish, byte by byte, with cells that package atm makes.
func TestCells(t *testing.T) {
	out := runHarness(t, "cells")
	seen := map[string]int{}
	s := bufio.NewScanner(bytes.NewReader(out))
	for s.Scan() {
		var p posted
		var slot, data string
		if _, err := fmt.Sscan(s.Text(), &p.op, &p.circuit, &p.notify, &p.width, &p.offset, &p.n, &p.index, &slot, &data); err != nil {
			t.Fatalf("%q: %v", s.Text(), err)
		}
		got, err := hex.DecodeString(slot)
		if err != nil {
			t.Fatal(err)
		}
		if data != "-" {
			if p.data, err = hex.DecodeString(data); err != nil {
				t.Fatal(err)
			}
		}
		if want := p.slot(t); !bytes.Equal(got, want) {
			t.Fatalf("%s\n got %x\nwant %x", s.Text(), got, want)
		}
		seen[p.op]++
	}
	for op, n := range map[string]int{"write": 1000, "notify": 24, "read": 480, "cas": 16, "fadd": 16, "swap": 16} {
		if seen[op] < n {
			t.Errorf("%d cells of %s, want %d", seen[op], op, n)
		}
	}
}

// posted is a line that the harness prints for a request.
type posted struct {
	op                       string
	notify, width, offset, n uint32
	index                    uint64
	data                     []byte // of a write; of an atomic, the registers V and D
	circuit                  uint32
}

// slot is what docs/protocol.md says.
func (p *posted) slot(t *testing.T) []byte {
	const (
		write, short, read, cas, fadd, swap, notify = 1, 2, 3, 4, 5, 6, 7

		maxShort = 36
	)
	key := binary.BigEndian.AppendUint32(nil, 0x89abcdef+p.circuit)
	number := func(v uint64) []byte {
		if p.width == 4 {
			return binary.BigEndian.AppendUint32(nil, uint32(v))
		}
		return binary.BigEndian.AppendUint64(nil, v)
	}
	var op uint32
	var data []byte
	switch p.op {
	case "write":
		op, data = write, slices.Clone(p.data)
		for w := range slices.Chunk(data, int(p.width)) {
			slices.Reverse(w)
		}
		if p.n <= maxShort {
			op, data = short, append(key, data...)
		}
	case "notify":
		op, data = notify, key
	case "read":
		op, data = read, binary.BigEndian.AppendUint32(key, p.n)
	default:
		v, d := binary.LittleEndian.Uint64(p.data), binary.LittleEndian.Uint64(p.data[8:])
		data = key
		if p.op == "cas" {
			data = append(data, number(d)...)
		}
		data = append(data, number(v)...)
		op = map[string]uint32{"cas": cas, "fadd": fadd, "swap": swap}[p.op]
	}
	word := binary.BigEndian.AppendUint32(nil, op<<28|p.notify<<27|p.offset)

	var c atm.Cell
	header := [4]byte(binary.BigEndian.AppendUint32(nil, 0x00123450+16*p.circuit))
	copy(c[:], header[:])
	c[4] = atm.HEC(header)
	if err := atm.EncodeSSM(&c, uint8(p.index&0xf), uint16(p.index>>4)&0x3ff, word, data); err != nil {
		t.Fatal(err)
	}
	slot := make([]byte, 64)
	binary.LittleEndian.PutUint32(slot, uint32(p.index+1))
	copy(slot[5:], c[:])
	return slot
}

// BenchmarkStubs prints what instructions cost, in nanoseconds.
func BenchmarkStubs(b *testing.B) { b.Logf("\n%s", runHarness(b, "bench", "20000")) }
