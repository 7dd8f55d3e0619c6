// Every uses each function of the binding once, on a segment that this node
// imports from itself, and checks what it does. It ends with status 0 and says so
// in one line, or with 1 at the first difference.
package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"time"
	"unsafe"

	"rmemrun/guest/go/rmem"
)

func must(what string, err error) {
	if err != nil {
		fatal(what + ": " + err.Error())
	}
}

func fatal(what string) {
	fmt.Fprintln(os.Stderr, "every:", what)
	os.Exit(1)
}

func expect[T comparable](what string, got, want T) {
	if got != want {
		fatal(fmt.Sprintf("%s: got %v, want %v", what, got, want))
	}
}

func swapped(p []byte, word int) []byte {
	q := slices.Clone(p)
	for n := 0; n < len(q); n += word {
		slices.Reverse(q[n : n+word])
	}
	return q
}

func main() {
	me := rmem.Node()
	if me < 0 || me >= rmem.Nodes() {
		fatal("node number out of range")
	}
	mem := make([]byte, 4096)
	name := fmt.Sprint("every ", os.Getpid())

	_, err := rmem.Import(name, me, rmem.Read, 0)
	expect[error]("import of what is not there", err, rmem.ENOENT)
	_, err = rmem.Import(name, me, rmem.Read, 20*time.Millisecond)
	expect[error]("import with timeout", err, rmem.ETIMEDOUT)
	_, err = rmem.Import(name, rmem.Nodes(), rmem.Read, 0)
	expect[error]("import from no node", err, rmem.EINVAL)

	seg, err := rmem.Export(name, mem, rmem.Read|rmem.Write|rmem.Atomic)
	must("export", err)
	_, err = rmem.Export(name, make([]byte, 8), rmem.Read)
	expect[error]("second export", err, rmem.EEXIST)
	_, err = rmem.Export("", mem, rmem.Read)
	expect[error]("export without a name", err, rmem.EINVAL)

	d, err := rmem.Import(name, me, rmem.Read|rmem.Write|rmem.Atomic, rmem.Forever)
	must("import", err)

	data := []byte("forty bytes of text fit into one cell...")
	for _, length := range []int{40, 400, 4000} {
		long := bytes.Repeat(data, length/40)
		for _, m := range []struct {
			swab rmem.Flags
			word int
		}{{0, 1}, {rmem.Swab16, 2}, {rmem.Swab32, 4}, {rmem.Swab64, 8}} {
			clear(mem)
			must("write", d.Write(8, long, m.swab))
			must("fence", d.Fence())
			expect("write", string(mem[8:8+length]), string(swapped(long, m.word)))
			clear(mem)
			must("write with notification", d.Write(8, long, m.swab|rmem.Notify))
			event, err := seg.Wait(rmem.Forever)
			must("wait", err)
			expect("event", event, rmem.Event{Node: uint32(me), Op: rmem.OpWrite, Offset: 8, Len: uint64(length), Count: 1})
			expect("write with notification", string(mem[8:8+length]), string(swapped(long, m.word)))

			back := make([]byte, length)
			must("read", d.Read(8, back, m.swab))
			expect("read", string(back), string(long))
			clear(back)
			must("asynchronous read", d.ReadAsync(8, back, m.swab))
			must("fence", rmem.Every.Fence())
			expect("asynchronous read", string(back), string(long))
		}
	}
	expect[error]("write with a flag of read", d.Write(0, data, 2), rmem.EINVAL)
	expect[error]("read with a flag of write", d.Read(0, data, rmem.Notify), rmem.EINVAL)
	expect[error]("asynchronous read with a flag of write", d.ReadAsync(0, data, rmem.Notify), rmem.EINVAL)
	expect[error]("write outside", d.Write(4096, data, 0), rmem.ERANGE)
	expect[error]("notify outside", d.Notify(1<<40), rmem.ERANGE)

	must("write", d.Write(0, []byte{1, 0, 0, 0, 2, 0, 0, 0}, 0))
	old, err := d.CAS(0, 7, 9)
	must("cas", err)
	expect("cas that fails", old, 2<<32|1)
	old, err = d.CAS(0, 2<<32|1, 5<<32|3)
	must("cas", err)
	expect("cas", old, 2<<32|1)
	old, err = d.FAdd(0, 1<<32)
	must("fadd", err)
	expect("fadd", old, 5<<32|3)
	old, err = d.Swap(0, 8<<32|7)
	must("swap", err)
	expect("swap", old, 6<<32|3)
	old32, err := d.CAS32(4, 8, 11)
	must("cas32", err)
	expect("cas32", old32, 8)
	old32, err = d.FAdd32(4, ^uint32(0))
	must("fadd32", err)
	expect("fadd32", old32, 11)
	old32, err = d.Swap32(4, 12)
	must("swap32", err)
	expect("swap32", old32, 10)
	expect("what the atomics left", string(mem[:8]), "\x07\x00\x00\x00\x0c\x00\x00\x00")
	_, err = d.FAdd(4, 1)
	expect[error]("fadd off its alignment", err, rmem.EALIGN)

	must("write", d.Write(0, data, 0))
	for !bytes.Equal(mem[:len(data)], data) {
		if rmem.Poll() < 0 {
			fatal("poll failed")
		}
	}
	must("notify", d.Notify(16))
	event, err := seg.Wait(rmem.Forever)
	must("wait", err)
	expect("event", event, rmem.Event{Node: uint32(me), Op: rmem.OpNotify, Offset: 16, Count: 1})
	_, err = seg.Wait(0)
	if err == nil {
		fatal("wait returned an event that nobody sent")
	}

	// A slice of whole pages within a larger one.
	const page = 4096
	room := make([]byte, 3*page)
	from := -uintptr(unsafe.Pointer(&room[0])) % page
	pages := room[from : from+2*page]
	paged, err := rmem.Export(name+" paged", pages, rmem.Read|rmem.Write)
	must("export of pages", err)
	pd, err := rmem.Import(name+" paged", me, rmem.Read|rmem.Write, rmem.Forever)
	must("import of pages", err)
	mapped, err := pd.Map(page, page, rmem.Read|rmem.Write)
	must("map", err)
	expect("length of what is mapped", len(mapped), page)
	copy(mapped, data)
	expect("mapped memory", string(pages[page:page+len(data)]), string(data))
	_, err = pd.Map(0, page, rmem.Atomic)
	expect[error]("map without the right", err, rmem.EPERM)
	_, err = pd.Map(0, 1, rmem.Read)
	expect[error]("map of a part of a page", err, rmem.EALIGN)
	must("unmap", rmem.Unmap(mapped))
	expect[error]("unmap again", rmem.Unmap(mapped), rmem.EINVAL)
	must("release of pages", pd.Release())
	must("revoke of pages", paged.Revoke())

	must("inhibit", seg.Inhibit(true))
	must("write while inhibited", d.Write(0, data, 0))
	expect[error]("fence after it", d.Fence(), rmem.EINHIBIT)
	must("inhibit off", seg.Inhibit(false))
	must("write", d.Write(0, data, 0))
	must("fence", d.Fence())

	must("revoke", seg.Revoke())
	expect[error]("revoke again", seg.Revoke(), rmem.EDESC)
	expect[error]("read of what is revoked", d.Read(0, data, 0), rmem.ESTALE)
	must("release", d.Release())
	expect[error]("release again", d.Release(), rmem.EDESC)
	fmt.Println("every function of the binding does what it should")
}
