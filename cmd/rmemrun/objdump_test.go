package main

import (
	"testing"

	"rmemrun/decode"
)

func TestFunction(t *testing.T) {
	for want, site := range map[string]decode.Site{
		"":                     {},
		"<main>":               {Symbol: "main"},
		"<main.größe+0x10>":    {Symbol: "main.größe", Offset: 16},
		`<\x1b]0;title\a+0x1>`: {Symbol: "\x1b]0;title\a", Offset: 1},
	} {
		if got := function(site); got != want {
			t.Errorf("function of %q: %q, want %q", site.Symbol, got, want)
		}
	}
}
