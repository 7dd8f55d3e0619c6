package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/spf13/pflag"
)

const pages = "../../docs/commands"

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
