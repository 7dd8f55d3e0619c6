package rmem

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// The model of a segment: bytes, and who may do what.
type modelSegment struct {
	seg       Seg
	node      int
	name      string
	mem       []byte // what the node has
	bytes     []byte // what should be there
	rights    Rights
	inhibited bool
	revoked   bool
	rung      map[int]*Notification // by model descriptor
	order     []int
}

type modelDescriptor struct {
	d        Desc
	node     int
	of       *modelSegment
	rights   Rights
	err      Error // what the next fence has to report
	at       int   // when it came
	dirty    bool  // something may be under way
	released bool
}

// TestModel does random operations on three nodes and compares every result, every byte of
// every segment, and every notification with a model that knows no network.
func TestModel(t *testing.T) {
	networks(t, testModel)
}

func testModel(t *testing.T, options ...func(*fabric, *Config)) {
	rapid.Check(t, func(rt *rapid.T) {
		f := newFabric(nil, 3, options...)
		defer f.close()
		var spaces []*Space
		for _, n := range f.nodes {
			spaces = append(spaces, n.NewSpace())
		}
		var segments []*modelSegment
		var descriptors []*modelDescriptor
		clock := 0

		// To begin with, every node imports what the next one exports, twice, and its own.
		for i, size := range []int{100, 4096, 2*MaxBlock + 13} {
			s := &modelSegment{node: i, name: "first", rights: access, mem: make([]byte, size+8)[:size], bytes: make([]byte, size), rung: map[int]*Notification{}}
			s.seg = mustExport(t, spaces[i], s.name, s.mem, s.rights)
			segments = append(segments, s)
			for _, from := range []int{i, (i + 2) % 3, (i + 2) % 3} {
				d := &modelDescriptor{of: s, node: from, rights: access, d: mustImport(t, spaces[from], s.name, i, access)}
				descriptors = append(descriptors, d)
			}
		}

		pickSegment := func(rt *rapid.T) *modelSegment {
			if len(segments) == 0 {
				rt.Skip()
			}
			return segments[rapid.IntRange(0, len(segments)-1).Draw(rt, "segment")]
		}
		pick := func(rt *rapid.T) *modelDescriptor {
			if len(descriptors) == 0 {
				rt.Skip()
			}
			return descriptors[rapid.IntRange(0, len(descriptors)-1).Draw(rt, "descriptor")]
		}
		// offset and length, mostly inside, sometimes over the end or wrapping.
		extent := func(rt *rapid.T, size, most int) (off, n uint64) {
			n = uint64(rapid.OneOf(rapid.IntRange(0, 48), rapid.IntRange(0, most)).Draw(rt, "length"))
			off = rapid.OneOf(rapid.Uint64Range(0, uint64(size)), rapid.Uint64Range(math.MaxUint64-64, math.MaxUint64)).Draw(rt, "offset")
			return off, n
		}
		// local is what the importer's node refuses.
		local := func(d *modelDescriptor, need Rights, notify bool) Error {
			switch {
			case d.released:
				return EDESC
			case need&^d.rights != 0, notify && d.of.rights&Quiet != 0:
				return EPERM
			}
			return OK
		}
		remote := func(d *modelDescriptor, writes bool) Error {
			switch {
			case d.of.revoked:
				return ESTALE
			case writes && d.of.inhibited:
				return EINHIBIT
			}
			return OK
		}
		ring := func(d *modelDescriptor, n Notification) {
			key := 0
			for i, x := range descriptors {
				if x == d {
					key = i
				}
			}
			n.Node, n.Count = uint32(d.node), 1
			old := d.of.rung[key]
			if old == nil {
				d.of.rung[key] = &n
				d.of.order = append(d.of.order, key)
				return
			}
			end := max(old.Offset+old.Len, n.Offset+n.Len)
			old.Offset = min(old.Offset, n.Offset)
			old.Len = end - old.Offset
			old.Op = n.Op
			old.Count++
		}
		record := func(d *modelDescriptor, e Error) {
			if e != OK && d.err == OK {
				clock++
				d.err, d.at = e, clock
			}
		}
		expect := func(rt *rapid.T, what string, got, want Error) {
			if got != want {
				rt.Fatalf("%s: %v, want %v", what, got.Name(), want.Name())
			}
		}

		// Order is promised within a circuit: before d is used, what others have under way to the same segment must be over.
		settle := func(rt *rapid.T, d *modelDescriptor) {
			for _, o := range descriptors {
				if o != d && o.of == d.of && o.dirty && !o.released {
					e, _ := do(func(op *Operation) { spaces[o.node].Fence(op, o.d) })
					expect(rt, "fence between circuits", e, o.err)
					o.err, o.dirty = OK, false
				}
			}
			d.dirty = true
		}

		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				if f.queued {
					return // writes may be under way; fence compares
				}
				for _, s := range segments {
					if !bytes.Equal(s.mem, s.bytes) {
						rt.Fatalf("segment %q of node %d is not what it should be", s.name, s.node)
					}
				}
			},
			"export": func(rt *rapid.T) {
				if len(segments) == 6 {
					rt.Skip()
				}
				size := rapid.SampledFrom([]int{1, 8, 100, 4096, 2*MaxBlock + 13}).Draw(rt, "size")
				s := &modelSegment{
					node:   rapid.IntRange(0, 2).Draw(rt, "node"),
					name:   rapid.StringN(1, 20, 100).Draw(rt, "name"),
					rights: Rights(rapid.IntRange(1, 7).Draw(rt, "rights")),
					mem:    make([]byte, size+8)[:size], // 8: aligned
					rung:   map[int]*Notification{},
				}
				if rapid.IntRange(0, 3).Draw(rt, "quiet") == 0 {
					s.rights |= Quiet
				}
				s.bytes = bytes.Clone(s.mem)
				want := OK
				for _, o := range segments {
					if o.node == s.node && o.name == s.name && !o.revoked {
						want = EEXIST
					}
				}
				seg, e := spaces[s.node].Export(s.name, s.mem, s.rights)
				expect(rt, "export", e, want)
				if e == OK {
					s.seg = seg
					segments = append(segments, s)
				}
			},
			"import": func(rt *rapid.T) {
				s := pickSegment(rt)
				if len(descriptors) == 20 {
					rt.Skip()
				}
				d := &modelDescriptor{of: s, node: rapid.IntRange(0, 2).Draw(rt, "node"), rights: Rights(rapid.IntRange(1, 7).Draw(rt, "rights"))}
				want := OK
				for _, o := range segments {
					if o.node == s.node && o.name == s.name && !o.revoked {
						d.of = o
					}
				}
				switch {
				case d.of.revoked:
					want = ENOENT
				case d.rights&^d.of.rights != 0:
					want = EPERM
				}
				e, o := do(func(o *Operation) { spaces[d.node].Import(o, s.name, s.node, d.rights, false) })
				expect(rt, "import", e, want)
				if e == OK {
					d.d = Desc(o.Handle())
					descriptors = append(descriptors, d)
				}
			},
			"write": func(rt *rapid.T) {
				d := pick(rt)
				settle(rt, d)
				off, n := extent(rt, len(d.of.bytes), 3*MaxBlock)
				notify := rapid.Bool().Draw(rt, "notify")
				width := rapid.SampledFrom([]uint8{1, 1, 2, 4, 8}).Draw(rt, "swab")
				src := bytes.Repeat([]byte{rapid.Byte().Draw(rt, "fill"), 2, 3, 4, 5, 6, 7, 8, 9}, int(n)/9+1)[:n]
				e, _ := do(func(o *Operation) { spaces[d.node].Write(o, d.d, off, mem(src), n, width, notify) })
				want := local(d, Write, notify)
				switch {
				case want != OK:
				case n%uint64(width) != 0:
					want = EALIGN
				case n == 0:
				case off > uint64(len(d.of.bytes)) || n > uint64(len(d.of.bytes))-off:
					want = ERANGE
				}
				expect(rt, "write", e, want)
				if e != OK || n == 0 {
					return
				}
				far := remote(d, true)
				record(d, far)
				if far == OK {
					copy(d.of.bytes[off:], src)
					swab(d.of.bytes[off:off+n], width)
					if notify {
						ring(d, Notification{Op: 6, Offset: off, Len: n})
					}
				}
			},
			"read": func(rt *rapid.T) {
				d := pick(rt)
				settle(rt, d)
				off, n := extent(rt, len(d.of.bytes), 3*MaxBlock)
				dst := make(mem, n)
				e, _ := do(func(o *Operation) { spaces[d.node].Read(o, d.d, off, dst, n, 1, false) })
				want := local(d, Read, false)
				switch {
				case want != OK || n == 0:
				case off > uint64(len(d.of.bytes)) || n > uint64(len(d.of.bytes))-off:
					want = ERANGE
				default:
					want = remote(d, false)
				}
				expect(rt, "read", e, want)
				if e == OK && n > 0 && !bytes.Equal(dst, d.of.bytes[off:off+n]) {
					rt.Fatal("read something else than what is there")
				}
			},
			"atomic": func(rt *rapid.T) {
				d := pick(rt)
				settle(rt, d)
				width := rapid.SampledFrom([]uint8{4, 8}).Draw(rt, "width")
				off := rapid.OneOf(rapid.Uint64Range(0, 16), rapid.Uint64Range(0, uint64(len(d.of.bytes)+8)), rapid.Just(uint64(math.MaxUint64-7))).Draw(rt, "offset")
				notify := rapid.Bool().Draw(rt, "notify")
				operand, expected := rapid.Uint64Range(0, 3).Draw(rt, "operand"), rapid.Uint64Range(0, 3).Draw(rt, "expected")
				op := rapid.SampledFrom([]Op{OpCAS, OpFAdd, OpSwap}).Draw(rt, "op")
				e, o := do(func(o *Operation) {
					switch op {
					case OpCAS:
						spaces[d.node].CAS(o, d.d, off, width, expected, operand, notify)
					case OpFAdd:
						spaces[d.node].FAdd(o, d.d, off, width, operand, notify)
					default:
						spaces[d.node].Swap(o, d.d, off, width, operand, notify)
					}
				})
				want := local(d, Atomic, notify)
				size := uint64(len(d.of.bytes))
				switch {
				case want != OK:
				case off%uint64(width) != 0:
					want = EALIGN
				case off > size || uint64(width) > size-off:
					want = ERANGE
				default:
					want = remote(d, true)
				}
				expect(rt, op.String(), e, want)
				if e != OK {
					return
				}
				b := d.of.bytes[off:]
				le := binary.NativeEndian
				get := func() uint64 {
					if width == 4 {
						return uint64(le.Uint32(b))
					}
					return le.Uint64(b)
				}
				old, v := get(), operand
				if op == OpFAdd {
					v += old
				}
				if op != OpCAS || old == expected {
					if width == 4 {
						le.PutUint32(b, uint32(v))
					} else {
						le.PutUint64(b, v)
					}
				}
				if o.Old() != old {
					rt.Fatalf("%v: old %d, want %d", op, o.Old(), old)
				}
				if notify {
					ring(d, Notification{Op: instruction[op], Offset: off, Len: uint64(width)})
				}
			},
			"fence": func(rt *rapid.T) {
				d := pick(rt)
				e, _ := do(func(o *Operation) { spaces[d.node].Fence(o, d.d) })
				want := d.err
				if d.released {
					want = EDESC
				} else {
					d.err = OK
				}
				expect(rt, "fence", e, want)
			},
			"fence every": func(rt *rapid.T) {
				node := rapid.IntRange(0, 2).Draw(rt, "node")
				var first *modelDescriptor
				for _, d := range descriptors {
					if d.node == node && !d.released && d.err != OK && (first == nil || d.at < first.at) {
						first = d
					}
				}
				e, _ := do(func(o *Operation) { spaces[node].Fence(o, Every) })
				if first == nil {
					expect(rt, "fence of every descriptor", e, OK)
					return
				}
				if !f.queued { // which of two circuits answers first is open
					expect(rt, "fence of every descriptor", e, first.err)
					first.err = OK
					return
				}
				for _, d := range descriptors {
					if d.node == node && !d.released && d.err == e {
						// Ask each: all that was not reported must still be there.
						if r, _ := do(func(o *Operation) { spaces[node].Fence(o, d.d) }); r == OK {
							d.err = OK
							return
						}
						d.err = OK
					}
				}
				rt.Fatalf("fence of every descriptor: %v, which none has or all still have", e)
			},
			"release": func(rt *rapid.T) {
				d := pick(rt)
				if rapid.IntRange(0, 3).Draw(rt, "really") != 0 {
					rt.Skip()
				}
				settle(rt, d) // it is merged into what is queued by then
				e, _ := do(func(o *Operation) { spaces[d.node].Release(o, d.d) })
				want := d.err
				if d.released {
					want = EDESC
				}
				expect(rt, "release", e, want)
				d.released = true
			},
			"inhibit": func(rt *rapid.T) {
				s := pickSegment(rt)
				settle(rt, &modelDescriptor{of: s})
				on := rapid.Bool().Draw(rt, "on")
				want := OK
				if s.revoked {
					want = EDESC
				}
				expect(rt, "inhibit", spaces[s.node].Inhibit(s.seg, on), want)
				s.inhibited = on
			},
			"revoke": func(rt *rapid.T) {
				s := pickSegment(rt)
				settle(rt, &modelDescriptor{of: s})
				if rapid.IntRange(0, 3).Draw(rt, "really") != 0 {
					rt.Skip()
				}
				want := OK
				if s.revoked {
					want = EDESC
				}
				expect(rt, "revoke", spaces[s.node].Revoke(s.seg), want)
				s.revoked = true
			},
			"wait": func(rt *rapid.T) {
				s := pickSegment(rt)
				settle(rt, &modelDescriptor{of: s})
				o := newOp()
				spaces[s.node].Wait(&o.Operation, s.seg)
				if s.revoked {
					expect(rt, "wait", o.result(), EDESC)
					return
				}
				if len(s.order) == 0 {
					if !o.Cancel(ETIMEDOUT) {
						rt.Fatalf("a notification of nothing: %v, %+v", o.Result(), o.Event())
					}
					return
				}
				// Circuits that are gone are merged by node, which the model does not follow: totals must agree.
				key := s.order[0]
				want := *s.rung[key]
				expect(rt, "wait", o.result(), OK)
				gone := false
				for _, k := range s.order {
					gone = gone || descriptors[k].released
				}
				if !gone {
					if o.Event() != want {
						rt.Fatalf("wait: %+v, want %+v", o.Event(), want)
					}
					delete(s.rung, key)
					s.order = s.order[1:]
					return
				}
				var total, got uint64
				for _, k := range s.order {
					total += s.rung[k].Count
				}
				for o.Result() == OK {
					got += o.Event().Count
					spaces[s.node].Wait(&o.Operation, s.seg)
					if !o.Done() {
						o.Cancel(ETIMEDOUT)
					}
				}
				if got != total {
					rt.Fatalf("%d notifications were waited for, %d were made", got, total)
				}
				s.order, s.rung = nil, map[int]*Notification{}
			},
		})
		for _, d := range descriptors {
			if d.released {
				continue
			}
			e, _ := do(func(o *Operation) { spaces[d.node].Fence(o, d.d) })
			expect(rt, "last fence", e, d.err)
		}
		for _, s := range segments {
			if !bytes.Equal(s.mem, s.bytes) {
				rt.Fatalf("segment %q of node %d is not what it should be", s.name, s.node)
			}
		}
	})
}
