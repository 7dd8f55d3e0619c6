//go:build linux && amd64

package isa

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rmemrun/decode"
	"rmemrun/rmem"
)

const page = "../../docs/isa.md"

var (
	statement = regexp.MustCompile("(?m)^\\* `\\[([A-Z][0-9]+)\\]`")
	citation  = regexp.MustCompile(`(?m)(?:^|[\s"(])\[([A-Z][0-9]+)\]`)
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tags returns what a pattern finds in a text, in order, each once.
func tags(pattern *regexp.Regexp, text string) []string {
	var all []string
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// cited returns the statements that a file names.
func cited(t *testing.T, path string) []string { return tags(citation, read(t, path)) }

// TestStatements checks that the page numbers each statement once, that each has a test, here or in another package, and that
// no test names one that does not exist.
func TestStatements(t *testing.T) {
	text := read(t, page)
	stated := tags(statement, text)
	if n := len(statement.FindAllString(text, -1)); n != len(stated) || n < 100 {
		t.Errorf("%s has %d statements with %d numbers", page, n, len(stated))
	}
	if n := strings.Count(text, "* `["); n != len(stated) {
		t.Errorf("%d of %d statements in %s have no number", n-len(stated), n, page)
	}
	held := map[string][]string{}
	for _, root := range []string{"../../decode", "../../rmem", "../../runtime", "../../trap", "../../guest", "../fixtures", "."} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !isTest(path) {
				return err
			}
			for _, tag := range cited(t, path) {
				held[tag] = append(held[tag], path)
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	for _, tag := range stated {
		if held[tag] == nil {
			t.Errorf("no test holds statement %s", tag)
		}
	}
	for tag, paths := range held {
		if !slices.Contains(stated, tag) {
			t.Errorf("%s: %s has no statement %s", paths[0], page, tag)
		}
	}
}

// isTest tells whether a file is a part of the tests: a Go test, a guest, or data of either.
func isTest(path string) bool {
	path = filepath.ToSlash(path)
	return strings.HasSuffix(path, "_test.go") || strings.Contains(path, "fixtures/") || strings.Contains(path, "/testdata/")
}

// table returns the rows of the table of the page that has the heading given, cell by cell.
func table(t *testing.T, heading string) [][]string {
	t.Helper()
	_, rest, ok := strings.Cut(read(t, page), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no table %q", page, heading)
	}
	var rows [][]string
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows[1:] // without the line of dashes
}

// TestOperations holds the table of operations against the decoder: numbers, operands, flags, widths. [O0] [E12]
func TestOperations(t *testing.T) {
	rows := table(t, "| op | name | V | A | P | C | D | result | flags | width |")
	if len(rows) != len(decode.Ops()) {
		t.Errorf("%d operations in the table, %d in the decoder", len(rows), len(decode.Ops()))
	}
	for i, row := range rows {
		op := decode.Op(i + 1)
		if row[0] != fmt.Sprint(i+1) || !strings.HasPrefix(row[1], "["+op.String()+"]") {
			t.Errorf("row %d is %s %s, the operation is %v", i+1, row[0], row[1], op)
		}
		for f := decode.FieldV; f <= decode.FieldD; f++ {
			uses := slices.ContainsFunc(op.Operands(), func(o decode.Operand) bool { return o.Field == f })
			if uses != (row[2+int(f)] != "") {
				t.Errorf("%v: operand %v is %q in the table; used: %v", op, f, row[2+int(f)], uses)
			}
		}
		want := map[string]decode.Flags{"": 0, "NOTIFY": decode.FlagNotify, "ASYNC": decode.FlagAsync}
		if flags, ok := want[row[8]]; !ok || flags != op.Flags() {
			t.Errorf("%v: flags %q in the table, %#x in the decoder", op, row[8], op.Flags())
		}
		var widths []string
		for _, w := range []uint8{1, 2, 4, 8} {
			inst := decode.Instruction{Arch: decode.ArchAMD64, Op: op, Width: w, V: 3, A: 6, P: 7}
			for f, reg := range map[decode.Field]*decode.Reg{decode.FieldV: &inst.V, decode.FieldA: &inst.A, decode.FieldP: &inst.P} {
				if !slices.ContainsFunc(op.Operands(), func(o decode.Operand) bool { return o.Field == f }) {
					*reg = 0
				}
			}
			if _, err := decode.Encode(inst); err == nil {
				widths = append(widths, fmt.Sprint(w))
			}
		}
		if got := strings.Join(widths, ", "); got != row[9] {
			t.Errorf("%v: width %q in the table, %q in the decoder", op, row[9], got)
		}
	}
}

// TestFlags holds the table of flags against the decoder. [E16]
func TestFlags(t *testing.T) {
	rows := table(t, "| flag | bit on x86-64 | on |")
	if len(rows) != 2 {
		t.Fatalf("%d flags", len(rows))
	}
	for i, flag := range []decode.Flags{decode.FlagNotify, decode.FlagAsync} {
		var on []string
		for _, op := range decode.Ops() {
			if op.Flags()&flag != 0 {
				on = append(on, "`"+op.String()+"`")
			}
		}
		if rows[i][2] != strings.Join(on, ", ") || flag != 1<<i || rows[i][1] != fmt.Sprint(i) {
			t.Errorf("%v in the table; the decoder has %v with %#x", rows[i], on, flag)
		}
	}
}

// TestRights holds the table of rights against rmem and rmem.h; what they allow the guest refusals tries. [O7]
func TestRights(t *testing.T) {
	rows := table(t, "| value | name | allows |")
	header := read(t, "../../guest/rmem.h")
	rights := []rmem.Rights{rmem.Read, rmem.Write, rmem.Atomic, rmem.Quiet}
	if len(rows) != len(rights) {
		t.Fatalf("%d rights", len(rows))
	}
	for i, row := range rows {
		if row[0] != fmt.Sprint(uint32(rights[i])) || !strings.Contains(header, "#define RMEM_"+row[1]+" "+row[0]+" ") {
			t.Errorf("%v in the table; rmem has %d", row, rights[i])
		}
	}
}

// TestErrors holds the table of errors against rmem and rmem.h; the Go binding's have a test that reads rmem.h. [O8]
func TestErrors(t *testing.T) {
	rows := table(t, "| number | name | meaning |")
	header := read(t, "../../guest/rmem.h")
	if len(rows) != -int(rmem.ENOSPC) {
		t.Errorf("%d errors in the table, %d in rmem", len(rows), -int(rmem.ENOSPC))
	}
	for i, row := range rows {
		e := rmem.Error(-1 - i)
		if row[0] != fmt.Sprint(int(e)) || row[1] != e.Name() || !strings.Contains(header, fmt.Sprintf("#define RMEM_%s (%s)", row[1], row[0])) {
			t.Errorf("%v in the table; rmem has %d %s", row, e, e.Name())
		}
	}
}
