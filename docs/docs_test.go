// Package docs has the project's documentation, and this test that its links lead somewhere. That what the pages print
// happens is tested beside the commands: cmd/rmemrun/docs_test.go.
package docs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are README.md and all pages below this directory and testprogs.
func pages(t *testing.T) []string {
	t.Helper()
	pages := []string{"../README.md"}
	for _, root := range []string{".", "../testprogs"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".md" {
				pages = append(pages, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return pages
}

// TestLinks follows the links of all pages, to headings too.
func TestLinks(t *testing.T) {
	links := regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)
	followed := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links.FindAllStringSubmatch(string(text), -1) {
			path, heading := link[1], link[2]
			if strings.Contains(path, "://") {
				continue
			}
			followed++
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s links to %s, which is not there", page, path)
				continue
			}
			if heading == "" {
				continue
			}
			text, err := os.ReadFile(target)
			if err != nil {
				t.Fatal(err)
			}
			if !headings(string(text))[heading] {
				t.Errorf("%s links to %s%s, which has no such heading", page, path, heading)
			}
		}
	}
	if followed == 0 {
		t.Error("no links were found")
	}
}

// headings are the names of a page's headings as links give them.
func headings(page string) map[string]bool {
	names := map[string]bool{}
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for line := range strings.Lines(page) {
		if text := strings.TrimLeft(line, "#"); text != line {
			name := drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(text)), "")
			names["#"+strings.ReplaceAll(name, " ", "-")] = true
		}
	}
	return names
}

func TestHeadings(t *testing.T) {
	if h := headings("# The *path* of one write\ntext\n"); !h["#the-path-of-one-write"] || len(h) != 1 {
		t.Errorf("the headings are %v", h)
	}
}
