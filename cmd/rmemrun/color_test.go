package main

import (
	"os"
	"testing"
)

func TestColored(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	defer terminal.Close()
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, c := range []struct {
		color, noColor, term string
		terminal, want       bool
	}{
		{"auto", "", "xterm", true, true},
		{"auto", "", "xterm", false, false},
		{"auto", "1", "xterm", true, false},
		{"auto", "", "dumb", true, false},
		{"always", "", "xterm", false, true},
		{"always", "1", "dumb", false, true}, // asked for by name
		{"never", "", "xterm", true, false},
	} {
		t.Setenv("NO_COLOR", c.noColor)
		t.Setenv("TERM", c.term)
		f := file
		if c.terminal {
			f = terminal
		}
		if got := (&app{color: c.color}).colored(f); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
