package ring

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"
)

// TestLayout compares the layout with what a C compiler makes of stub/layout.h.
func TestLayout(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skipf("no C compiler to compare the layout with: %v", err)
	}
	var q requests
	var p replies
	var o Out
	var i In
	var b board
	var s slot
	var g staging
	fields := []struct {
		c    string // an expression
		want uintptr
	}{
		{"LINE", line}, {"SLOTS", Slots}, {"MAX_OUTS", MaxOuts}, {"MAX_INS", MaxIns},
		{"AGENT_SLEEPS", sleeps}, {"OUT_FREE", uintptr(Free)}, {"OUT_LIVE", uintptr(Live)},

		{"sizeof(struct slot)", unsafe.Sizeof(s)},

		{"sizeof(struct requests)", unsafe.Sizeof(q)},
		{"offsetof(struct requests, tail)", unsafe.Offsetof(q.tail)},
		{"offsetof(struct requests, seen)", unsafe.Offsetof(q.seen)},
		{"offsetof(struct requests, busy)", unsafe.Offsetof(q.busy)},
		{"offsetof(struct requests, slots)", unsafe.Offsetof(q.slots)},

		{"sizeof(struct replies)", unsafe.Sizeof(p)},
		{"offsetof(struct replies, head)", unsafe.Offsetof(p.head)},
		{"offsetof(struct replies, polling)", unsafe.Offsetof(p.polling)},
		{"offsetof(struct replies, lock)", unsafe.Offsetof(p.lock)},
		{"offsetof(struct replies, polled)", unsafe.Offsetof(p.polled)},
		{"offsetof(struct replies, left)", unsafe.Offsetof(p.left)},
		{"offsetof(struct replies, slots)", unsafe.Offsetof(p.slots)},

		{"sizeof(struct out)", unsafe.Sizeof(o)},
		{"offsetof(struct out, handle)", unsafe.Offsetof(o.Handle)},
		{"offsetof(struct out, state)", unsafe.Offsetof(o.State)},
		{"offsetof(struct out, rights)", unsafe.Offsetof(o.Rights)},
		{"offsetof(struct out, errors)", unsafe.Offsetof(o.Errors)},
		{"offsetof(struct out, limit)", unsafe.Offsetof(o.Limit)},
		{"offsetof(struct out, header0)", unsafe.Offsetof(o.Header0)},
		{"offsetof(struct out, header1)", unsafe.Offsetof(o.Header1)},
		{"offsetof(struct out, reply0)", unsafe.Offsetof(o.Reply0)},
		{"offsetof(struct out, reply1)", unsafe.Offsetof(o.Reply1)},
		{"offsetof(struct out, key)", unsafe.Offsetof(o.Key)},
		{"offsetof(struct out, node)", unsafe.Offsetof(o.Node)},
		{"offsetof(struct out, requests)", unsafe.Offsetof(o.Requests)},
		{"offsetof(struct out, replies)", unsafe.Offsetof(o.Replies)},
		{"offsetof(struct out, index)", unsafe.Offsetof(o.Index)},
		{"offsetof(struct out, reply_key)", unsafe.Offsetof(o.ReplyKey)},
		{"offsetof(struct out, attended)", unsafe.Offsetof(o.Attended)},

		{"sizeof(struct in)", unsafe.Sizeof(i)},
		{"offsetof(struct in, state)", unsafe.Offsetof(i.State)},
		{"offsetof(struct in, rights)", unsafe.Offsetof(i.Rights)},
		{"offsetof(struct in, inhibited)", unsafe.Offsetof(i.Inhibited)},
		{"offsetof(struct in, segment)", unsafe.Offsetof(i.Segment)},
		{"offsetof(struct in, events)", unsafe.Offsetof(i.Events)},
		{"offsetof(struct in, node)", unsafe.Offsetof(i.Node)},
		{"offsetof(struct in, base)", unsafe.Offsetof(i.Base)},
		{"offsetof(struct in, length)", unsafe.Offsetof(i.Length)},
		{"offsetof(struct in, header0)", unsafe.Offsetof(i.Header0)},
		{"offsetof(struct in, header1)", unsafe.Offsetof(i.Header1)},
		{"offsetof(struct in, reply0)", unsafe.Offsetof(i.Reply0)},
		{"offsetof(struct in, reply1)", unsafe.Offsetof(i.Reply1)},
		{"offsetof(struct in, key)", unsafe.Offsetof(i.Key)},
		{"offsetof(struct in, reply_key)", unsafe.Offsetof(i.ReplyKey)},
		{"offsetof(struct in, requests)", unsafe.Offsetof(i.Requests)},
		{"offsetof(struct in, replies)", unsafe.Offsetof(i.Replies)},

		{"sizeof(struct board)", unsafe.Sizeof(b)},
		{"offsetof(struct board, bell)", unsafe.Offsetof(b.bell)},
		{"offsetof(struct board, threaded)", unsafe.Offsetof(b.threaded)},
		{"offsetof(struct board, spin)", unsafe.Offsetof(b.spin)},
		{"offsetof(struct board, patience)", unsafe.Offsetof(b.patience)},
		{"offsetof(struct board, dwell)", unsafe.Offsetof(b.dwell)},
		{"offsetof(struct board, ins_count)", unsafe.Offsetof(b.insCount)},
		{"offsetof(struct board, fenced)", unsafe.Offsetof(b.fenced)},
		{"offsetof(struct board, news)", unsafe.Offsetof(b.news)},
		{"offsetof(struct board, staging)", unsafe.Offsetof(b.staging)},
		{"offsetof(struct board, mapped)", unsafe.Offsetof(b.mapped)},
		{"sizeof(struct range)", unsafe.Sizeof(b.mapped[0])},
		{"offsetof(struct range, start)", unsafe.Offsetof(b.mapped[0].start)},
		{"offsetof(struct range, end)", unsafe.Offsetof(b.mapped[0].end)},
		{"MAX_RANGES", MaxRanges}, {"STAGING", MaxStaged}, {"STAGED_LEAST", MinStaged},
		{"sizeof(struct staging)", unsafe.Sizeof(g)},
		{"offsetof(struct staging, owner)", unsafe.Offsetof(g.owner)},
		{"offsetof(struct staging, processor)", unsafe.Offsetof(g.processor)},
		{"offsetof(struct staging, bytes)", unsafe.Offsetof(g.bytes)},
		{"offsetof(struct board, ins)", unsafe.Offsetof(b.ins)},
		{"offsetof(struct board, outs)", unsafe.Offsetof(b.outs)},
	}
	header, err := filepath.Abs("stub/layout.h")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	fmt.Fprintf(&source, "#include <stddef.h>\n#include %q\n", header)
	for n, f := range fields {
		fmt.Fprintf(&source, "char f%d[(%s) == %d ? 1 : -1];\n", n, f.c, f.want)
	}
	file := filepath.Join(t.TempDir(), "layout.c")
	if err := os.WriteFile(file, []byte(source.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(cc, "-fsyntax-only", file).CombinedOutput()
	if err == nil {
		return
	}
	for n, f := range fields {
		if strings.Contains(string(out), fmt.Sprintf("‘f%d’", n)) || strings.Contains(string(out), fmt.Sprintf("'f%d'", n)) {
			t.Errorf("%s is not %d, as it is in Go", f.c, f.want)
		}
	}
	if !t.Failed() {
		t.Fatalf("%s: %v\n%s", cc, err, out)
	}
}
