package atm

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// oc192 is the cells that an OC-192c link carries in a second: 9584.64 Mbit/s in cells of 424 bits. One core is to keep up with it.
const oc192 = 9584.64e6 / 424

// threadTime is the processor time of the calling thread.
func threadTime() time.Duration {
	const rusageThread = 1
	var u syscall.Rusage
	if err := syscall.Getrusage(rusageThread, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCells adds to a benchmark of one cell per iteration how many cells a core carries in a second, and that as a share
// of OC-192c. It counts processor time, since on a machine with other work the elapsed time says how much of the core the
// benchmark got.
func reportCells(b *testing.B, begin time.Duration) {
	spent := threadTime() - begin
	perCell := float64(spent.Nanoseconds()) / float64(b.N)
	b.ReportMetric(perCell, "cpu-ns/cell")
	b.ReportMetric(1e9/perCell/1e6, "Mcells/s")
	b.ReportMetric(1e9/perCell/oc192, "OC-192c")
}

// One operation of 40 octets, a message of 44, from node to node: header, HEC, AAL3/4 with CRC-10; link, switch with HEC check, translation and new HEC, link; HEC and
// CRC-10 checked, AAL3/4 taken apart.
func BenchmarkCellPath(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d := &decoder{}
	link := path(b, d)
	var c Cell
	message := make([]byte, MaxSSM)
	b.ReportAllocs()
	begin := threadTime()
	for i := 0; b.Loop(); i++ {
		c.SetHeader(Header{VC: VC{0, 100}})
		if err := EncodeSSM(&c, uint8(i), uint16(i>>4), message); err != nil {
			b.Fatal(err)
		}
		link.Receive(&c)
	}
	reportCells(b, begin)
	if d.fail != nil || d.n < b.N*44 {
		b.Fatal(d.fail, d.n)
	}
}

// forwarder passes cells on and looks at nothing.
type forwarder struct{ to Receiver }

func (f *forwarder) Receive(c *Cell) { f.to.Receive(c) }

// taker looks at the length and the data only.
type taker struct {
	n    int
	data [MaxSSM]byte
}

func (t *taker) Receive(c *Cell) {
	t.n += int(c[sarTrailer] >> 2)
	t.data = [MaxSSM]byte(c[sarPayload:])
}

// The floor under BenchmarkCellPath: the same calls and copies without any header, check, table or counter.
func BenchmarkCellPathFloor(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var t taker
	var first Receiver = &forwarder{&forwarder{&forwarder{&t}}}
	var c Cell
	word, data := make([]byte, 4), make([]byte, 40)
	begin := threadTime()
	for b.Loop() {
		copy(c[sarPayload:], word)
		copy(c[sarPayload+4:], data)
		c[sarTrailer] = 44 << 2
		first.Receive(&c)
	}
	reportCells(b, begin)
}

// Both checksums over a payload, CRC-32 over blocks too, as the processor can and by tables.
func BenchmarkChecksums(b *testing.B) {
	buf := make([]byte, 65568)
	run := func(name string, n int, f func(p []byte)) {
		b.Run(name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			begin := threadTime()
			for b.Loop() {
				f(buf[:n])
			}
			spent := float64((threadTime() - begin).Nanoseconds())
			b.ReportMetric(spent/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(n)*float64(b.N)/spent, "GB/s")
		})
	}
	run("CRC-10/48", 48, func(p []byte) { crc10Remainder((*[PayloadSize]byte)(p)) })
	run("CRC-10/48/tables", 48, func(p []byte) { crc10RemainderTables((*[PayloadSize]byte)(p)) })
	run("CRC-10/48/receiver", 48, func(p []byte) { crc10Right((*[PayloadSize]byte)(p)) })
	run("CRC-10/48/receiver/tables", 48, func(p []byte) { crc10Syndrome((*[PayloadSize]byte)(p)) })
	for _, n := range []int{48, 144, 1536, 65568} {
		run(fmt.Sprintf("CRC-32/%d", n), n, func(p []byte) { crc32Update(0, p) })
		run(fmt.Sprintf("CRC-32/%d/tables", n), n, func(p []byte) { crc32UpdateTables(0, p) })
	}
}
