package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

func TestCompiler(t *testing.T) {
	for cc, want := range map[string][]string{
		"": {"cc"}, "  ": {"cc"}, "clang": {"clang"}, "ccache gcc -m64": {"ccache", "gcc", "-m64"},
	} {
		if got := compiler(cc); !slices.Equal(got, want) {
			t.Errorf("CC=%q: %q, want %q", cc, got, want)
		}
	}
}

func TestQuoted(t *testing.T) {
	got := quoted([]string{"cc", "-DX=1", "a b", "", "it's", "$x"})
	want := []string{"cc", "-DX=1", "'a b'", "''", `'it'\''s'`, "'$x'"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestHeaderDir(t *testing.T) {
	cache := t.TempDir()
	where := func() (string, error) { return cache, nil }
	var all sync.WaitGroup
	for range 8 { // as make -j does
		all.Go(func() {
			dir, err := headerDir(where, []byte("one"))
			if err != nil {
				t.Error(err)
				return
			}
			if text, err := os.ReadFile(filepath.Join(dir, "rmem.h")); err != nil || string(text) != "one" {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
	all.Wait()
	one, err := headerDir(where, []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := headerDir(where, []byte("two"))
	if err != nil || two == one {
		t.Errorf("another header: %s and %s, %v", one, two, err)
	}
	// One that was changed is put right.
	if err := os.WriteFile(filepath.Join(one, "rmem.h"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := headerDir(where, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(one, "rmem.h")); err != nil || string(text) != "one" {
		t.Errorf("%q, %v", text, err)
	}
	if files, err := os.ReadDir(one); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	errNone := errors.New("no cache")
	if _, err := headerDir(func() (string, error) { return "", errNone }, nil); !errors.Is(err, errNone) {
		t.Errorf("no cache directory: %v", err)
	}
}

func TestParseHex(t *testing.T) {
	want := []byte{0x0f, 0xb9, 0x9c}
	for _, words := range [][]string{{"0fb99c"}, {"0f", "b9", "9c"}, {"0f b9 9c"}, {"0x0f", "0xB9", "0x9c"}, {"0f:b9:9c"}, {"0x0fb99c"}, {"0x0f,0xb9,", "0x9c"}} {
		if got, err := parseHex(words); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: % x, %v", words, got, err)
		}
	}
	for _, words := range [][]string{{"0f", "b"}, {"xyz"}, {"0f-b9"}} {
		if got, err := parseHex(words); err == nil {
			t.Errorf("%q: % x and no error", words, got)
		}
	}
}
