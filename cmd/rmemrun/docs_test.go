package main

import (
	"bytes"
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

const pages = "../../docs/commands"

// TestPages runs the examples of README.md and docs/commands as they are printed, in one
// directory for each page. Each block begins with "```console"; "$ " is a command,
// what follows its output. Numbers that differ from run to run are
// not compared, nor is the order of lines, since nodes write when they like. The
// first "cat" of a file that does not exist makes it: its output is the text.
func TestPages(t *testing.T) {
	if err := guestsRun(); err != nil {
		t.Skip(err)
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("there is no C compiler")
	}
	names, err := filepath.Glob(pages + "/*.md")
	if err != nil || names == nil {
		t.Fatalf("no pages: %v", err)
	}
	for _, name := range append(names, "../../README.md") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := copyExample(dir); err != nil {
				t.Fatal(err)
			}
			for _, e := range examples(string(text)) {
				if file, ok := strings.CutPrefix(e.command, "cat "); ok {
					if err := os.WriteFile(filepath.Join(dir, file), []byte(e.output), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				cmd := exec.Command("sh", "-c", e.command)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+filepath.Join(dir, ".cache"), "GORACE=atexit_sleep_ms=0")
				out, err := cmd.CombinedOutput()
				if want, got := steady(e.output), steady(string(out)); want != got {
					t.Errorf("line %d: %s (%v): -printed +got\n%s", e.line, e.command, err, gocmp.Diff(want, got))
				}
			}
		})
	}
}

// example is a command in a page and its output.
type example struct {
	line    int
	command string
	output  string
}

func examples(page string) []example {
	var all []example
	inside := false
	for n, line := range strings.SplitAfter(page, "\n") {
		switch text := strings.TrimSuffix(line, "\n"); {
		case text == "```console":
			inside = true
		case text == "```":
			inside = false
		case inside && strings.HasPrefix(text, "$ "):
			all = append(all, example{n + 1, text[2:], ""})
		case inside && len(all) > 0:
			all[len(all)-1].output += line
		}
	}
	return all
}

var unsteady = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`0x[0-9a-f]{6,}`), "ADDRESS"},
	{regexp.MustCompile(`\b[0-9.]+(ns|us|ms|s)\b`), "TIME"},
	{regexp.MustCompile(`\[(\d+) \d+\]`), "[$1 PID]"},
	{regexp.MustCompile(`(?m)^(ok    ptrace +).*`), "$1"},
	{regexp.MustCompile(` +`), " "},
}

// steady is what of an output does not differ from run to run.
func steady(output string) string {
	for _, u := range unsteady {
		output = u.pattern.ReplaceAllString(output, u.with)
	}
	lines := strings.SplitAfter(output, "\n")
	slices.SortFunc(lines, cmp.Compare[string])
	return strings.Join(lines, "")
}

// TestPagesComplete checks that each command has a page, and each flag a line in it.
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
		text, err := os.ReadFile(filepath.Join(pages, page+".md"))
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
