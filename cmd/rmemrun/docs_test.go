package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestPages runs the examples of README.md and of docs as they are printed, those of a
// page in one directory.
//
// A fenced block "```console" is a session: after "$ " stands a command, after that what it
// prints, on standard output or error. A block with a name behind its language is the
// file of that name; so is what the "cat" of a file prints that is not there yet.
//
// "..." stands for any text of a line. Addresses, times and process numbers are not
// compared, nor is the order of lines, since nodes write when they like.
func TestPages(t *testing.T) {
	if err := guestsRun(); err != nil {
		t.Skip(err)
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("there is no C compiler")
	}
	names := []string{"../../README.md"}
	err := filepath.WalkDir("../../docs", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sessions := 0
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		blocks := fenced(string(text))
		if !slices.ContainsFunc(blocks, func(b block) bool { return b.session() }) {
			continue
		}
		sessions++
		t.Run(strings.TrimPrefix(name, "../../"), func(t *testing.T) { play(t, blocks) })
	}
	if sessions == 0 {
		t.Error("no page has a session")
	}
}

// A block is a fenced block of a page.
type block struct {
	line       int // of the page, of its first line
	head, text string
}

func (b block) session() bool { return b.head == "console" }

func fenced(page string) []block {
	var all []block
	inside := false
	line := 0
	for text := range strings.Lines(page) {
		line++
		head, fence := strings.CutPrefix(text, "```")
		switch {
		case fence && !inside:
			all = append(all, block{line: line + 1, head: strings.TrimSpace(head)})
			inside = true
		case fence:
			inside = false
		case inside:
			all[len(all)-1].text += text
		}
	}
	return all
}

// A command is one of a session, with the output that the page prints.
type command struct {
	line         int
	text, output string
}

func (b block) commands() []command {
	var all []command
	line := b.line
	for text := range strings.Lines(b.text) {
		if c, ok := strings.CutPrefix(text, "$ "); ok {
			all = append(all, command{line, strings.TrimSpace(c), ""})
		} else if len(all) > 0 {
			all[len(all)-1].output += text
		}
		line++
	}
	return all
}

func play(t *testing.T, blocks []block) {
	dir := t.TempDir()
	file := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range blocks {
		if _, name, ok := strings.Cut(b.head, " "); ok {
			file(name, b.text)
		}
		if !b.session() {
			continue
		}
		for _, c := range b.commands() {
			if name, ok := strings.CutPrefix(c.text, "cat "); ok {
				if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
					file(name, c.output)
				}
			}
			sh := exec.Command("sh", "-c", c.text)
			sh.Dir = dir
			sh.Env = append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+filepath.Join(dir, ".cache"), "GORACE=atexit_sleep_ms=0")
			out, err := sh.CombinedOutput()
			if err != nil {
				t.Fatalf("line %d: %s: %v\n%s", c.line, c.text, err, out)
			}
			if !prints(c.output, string(out)) {
				t.Errorf("line %d: %s prints\n%s\nand not\n%s", c.line, c.text, out, c.output)
			}
		}
	}
}

// unsteady is what differs from run to run, and what stands for it.
var unsteady = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`0x[0-9a-f]{6,}`), "ADDRESS"},
	{regexp.MustCompile(`\b[0-9.]+(ns|us|ms|s)\b`), "TIME"},
	{regexp.MustCompile(`\[(\d+) \d+\]`), "[$1 PID]"},
}

// prints reports whether the lines of an output are those of a page, in any order.
func prints(page, output string) bool {
	for _, u := range unsteady {
		page, output = u.pattern.ReplaceAllString(page, u.with), u.pattern.ReplaceAllString(output, u.with)
	}
	left := slices.Collect(strings.Lines(output))
	for line := range strings.Lines(page) {
		parts := strings.Split(line, "...")
		for i, p := range parts {
			parts[i] = regexp.QuoteMeta(p)
		}
		i := slices.IndexFunc(left, regexp.MustCompile("^"+strings.Join(parts, ".*")+"$").MatchString)
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return len(left) == 0
}

// TestPrints checks the comparison: it would pass on any page if it took nothing from it.
func TestPrints(t *testing.T) {
	for _, c := range []struct {
		page, output string
		want         bool
	}{
		{"a\nb\n", "b\na\n", true},
		{"a\n", "a\na\n", false},
		{"a\na\n", "a\n", false},
		{"", "a\n", false},
		{"a ... c\n", "a b c\n", true},
		{"a ... c\n", "a b\n", false},
		{"a.c\n", "abc\n", false},
		{"at 0x7ffc0000, 3.1us [0 17]\n", "at 0x55550000, 12ms [0 4711]\n", true},
		{"[0 17]\n", "[1 17]\n", false},
	} {
		if got := prints(c.page, c.output); got != c.want {
			t.Errorf("page %q, output %q: %v", c.page, c.output, got)
		}
	}
	blocks := fenced("text\n```c a.c\nint a;\n```\n```console\n$ one -a\nout\nput\n$ two\n```\nmore\n```\n$ three\n```\n")
	if len(blocks) != 3 || blocks[0] != (block{3, "c a.c", "int a;\n"}) || blocks[2].session() {
		t.Fatalf("the blocks are %+v", blocks)
	}
	got := blocks[1].commands()
	if !blocks[1].session() || len(got) != 2 || got[0] != (command{6, "one -a", "out\nput\n"}) || got[1] != (command{9, "two", ""}) {
		t.Errorf("the commands are %+v", got)
	}
}

// TestPagesComplete checks that each command has a page, and each flag a place in it.
func TestPagesComplete(t *testing.T) {
	root := (&app{}).rootCommand()
	for _, c := range append(root.Commands(), root) {
		page := c.Name()
		switch page {
		case "rmemrun":
			page = "run"
		case "completion":
			page = "man"
		case "help":
			continue
		}
		text, err := os.ReadFile(filepath.Join("../../docs/commands", page+".md"))
		if err != nil {
			t.Errorf("the command %s has no page: %v", c.Name(), err)
			continue
		}
		if !bytes.Contains(text, []byte("rmemrun "+c.Name())) && c != root {
			t.Errorf("docs/commands/%s.md does not name the command", page)
		}
		check := func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" || f.Name == "version" {
				return
			}
			if !regexp.MustCompile("`[^`]*--" + f.Name + "\\b").Match(text) {
				t.Errorf("docs/commands/%s.md does not have the flag --%s", page, f.Name)
			}
		}
		c.LocalNonPersistentFlags().VisitAll(check)
		if c == root {
			c.PersistentFlags().VisitAll(check)
		}
	}
}
