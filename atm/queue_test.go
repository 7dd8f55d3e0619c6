package atm

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A bottleneck is a line of one cell a microsecond in emulated time.
type bottleneck struct {
	*Line
	clock *SimClock
	sink  sink
	drops []string
}

func newBottleneck(t testing.TB, q Queueing) *bottleneck {
	t.Helper()
	b := &bottleneck{clock: NewSimClock()}
	l, err := NewLine(&b.sink, LineConfig{Clock: b.clock, Rate: 1e6, Queueing: q, OnDrop: func(c *Cell, why DropReason) {
		b.drops = append(b.drops, fmt.Sprintf("%c %v", c[5], why))
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.Line = l
	return b
}

// cells sends one cell for each letter: capitals are the last of a PDU, and what stands behind a ! has CLP 1. Which letter it was is in the
// first octet of the payload.
func cells(to Receiver, letters string) {
	clp := false
	for _, letter := range letters {
		if letter == '!' {
			clp = true
			continue
		}
		var c Cell
		h := Header{VC: VC{0, 32}, CLP: clp}
		if letter >= 'A' && letter <= 'Z' {
			h.PT = PTUserEnd
		}
		if letter == '#' {
			h.PT = PTEndOAM
		}
		c.SetHeader(h)
		c[5] = byte(letter)
		to.Receive(&c)
		clp = false
	}
}

// letters are those of the cells that came, with a + behind those that are marked with EFCI.
func (b *bottleneck) letters(t *testing.T) string {
	var s strings.Builder
	for _, c := range b.sink.take() {
		if !c.checkHEC() {
			t.Errorf("cell %c came with a wrong HEC", c[5])
		}
		s.WriteByte(c[5])
		if c.EFCI() {
			s.WriteByte('+')
		}
	}
	return s.String()
}

// What comes through a queue into which all comes at once. The first cell is in transmission at once and is in nobody's way.
func TestQueueDiscards(t *testing.T) {
	for _, tt := range []struct {
		name   string
		q      Queueing
		frames bool
		send   string
		get    string
		drops  string
	}{
		{"full", Queueing{Size: 3}, false, "abcdef", "abcd", "e queue-full, f queue-full"},
		{"CLP", Queueing{Size: 4, CLP: 2}, false, "a!bc!d!e#f!g", "abc#f", "d clp, e clp, g queue-full"},
		{"EFCI", Queueing{Size: 5, EFCI: 2}, false, "abc#de", "abc#d+e+", ""},

		{"no discard of frames", Queueing{Size: 3}, true, "abcdeFghI", "abcd", "e queue-full, F queue-full, g queue-full, h queue-full, I queue-full"},
		{"PPD", Queueing{Size: 3, PPD: true}, true, "abcdefG", "abcd", "e queue-full, f ppd, G queue-full"},
		{"PPD, nothing of the PDU was sent", Queueing{Size: 3, PPD: true}, true, "aBcDefG", "aBcD", "e queue-full, f ppd, G ppd"},
		{"PPD of a PDU of one cell leaves the next alone", Queueing{Size: 2, CLP: 1, PPD: true}, true, "aB!CDe", "aBD", "C clp, e queue-full"},
		{"EPD", Queueing{Size: 9, EPD: 3}, true, "abCdefGhIjK", "abCdefG", "h epd, I epd, j epd, K epd"},
		{"EPD and PPD", Queueing{Size: 4, EPD: 3, PPD: true}, true, "abCdefghIjK", "abCde", "f queue-full, g ppd, h ppd, I queue-full, j ppd, K queue-full"},
		{"EPD of a PDU of one cell", Queueing{Size: 9, EPD: 1}, true, "aBCDe", "aB", "C epd, D epd, e epd"},
		{"EPD leaves OAM cells", Queueing{Size: 9, EPD: 1}, true, "aBc#d#E#", "aB###", "c epd, d epd, E epd"},
		{"not a circuit of AAL5", Queueing{Size: 4, EPD: 2, PPD: true}, false, "abCdefG", "abCde", "f queue-full, G queue-full"},
		{"CLP begins PPD", Queueing{Size: 9, CLP: 2, PPD: true}, true, "abc!defG", "abcG", "d clp, e ppd, f ppd"},
	} {
		b := newBottleneck(t, tt.q)
		cells(b.Flow(UBR, tt.frames), tt.send)
		b.clock.Run(Forever)
		got, drops := b.letters(t), strings.Join(b.drops, ", ")
		if n := b.Counters().Marked; n != uint64(strings.Count(got, "+")) {
			t.Errorf("%s: %d cells are said to be marked, got %s", tt.name, n, got)
		}
		if got != tt.get || drops != tt.drops {
			t.Errorf("%s: sent %s, got %s and dropped %s\nwant %s and %s", tt.name, tt.send, got, drops, tt.get, tt.drops)
		}
	}
}

// A tail ends with a last cell that gets in, of whatever PDU.
func TestQueueTail(t *testing.T) {
	b := newBottleneck(t, Queueing{Size: 2, PPD: true})
	f := b.Flow(UBR, true)
	cells(f, "abcdEfG") // d, E, G do not fit
	b.clock.Run(time.Microsecond)
	cells(f, "hI") // there is room for one: h would be lost to the receiver, I ends what a began
	b.clock.Run(Forever)
	cells(f, "jK")
	b.clock.Run(Forever)
	if got, want := b.letters(t), "abcIjK"; got != want {
		t.Errorf("got %s, want %s; dropped %v", got, want, b.drops)
	}
}

// While all classes have cells waiting, they share the line by their weights; a class that was silent has saved up nothing.
func TestQueueWeights(t *testing.T) {
	b := newBottleneck(t, Queueing{Size: 1000, Weights: [Classes]int{UBR: 1, VBR: 2, CBR: 5}})
	ubr, vbr, cbr := b.Flow(UBR, false), b.Flow(VBR, false), b.Flow(CBR, false)
	share := func(n int) string {
		got := b.letters(t)[:n]
		return fmt.Sprintf("u%d v%d c%d", strings.Count(got, "u"), strings.Count(got, "v"), strings.Count(got, "c"))
	}
	cells(ubr, strings.Repeat("u", 301))
	b.clock.Run(100 * time.Microsecond) // UBR alone has the line
	if got, want := share(100), "u100 v0 c0"; got != want {
		t.Errorf("UBR alone: %s, want %s", got, want)
	}
	cells(vbr, strings.Repeat("v", 200))
	cells(cbr, strings.Repeat("c", 500))
	b.clock.Run(180 * time.Microsecond)
	if got, want := share(80), "u10 v20 c50"; got != want {
		t.Errorf("all three: %s, want %s", got, want)
	}
}

// With only some classes waiting, over any stretch of time, no class falls behind its share by more than a cell of each other class.
func TestQueueFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queues
		for c := range q.Weights {
			q.Weights[c] = rapid.IntRange(1, 40).Draw(t, "weight")
		}
		q.Size = 10000
		var flows [Classes]flow
		var sent [Classes]int
		for c := range flows {
			flows[c].class = Class(c)
		}
		active := rapid.SliceOfNDistinct(rapid.IntRange(0, int(Classes)-1), 1, int(Classes), rapid.ID).Draw(t, "active")
		weights := 0
		for _, c := range active {
			weights += q.Weights[c]
			for range 500 {
				cell := Cell{5: byte(c)}
				q.add(&cell, &flows[c])
			}
		}
		n := rapid.IntRange(1, 400).Draw(t, "cells")
		for range n {
			sent[q.take()[5]]++
		}
		for _, c := range active {
			share := float64(n) * float64(q.Weights[c]) / float64(weights)
			if behind := share - float64(sent[c]); behind > float64(len(active)) {
				t.Fatalf("class %d has sent %d of %d cells, its share is %.1f", c, sent[c], n, share)
			}
		}
	})
}

func TestQueueingErrors(t *testing.T) {
	for _, tt := range []struct {
		q    Queueing
		want string
	}{
		{Queueing{Size: -1}, "a queue of -1 cells"},
		{Queueing{Size: maxQueue + 1}, "a queue of 16777217 cells"},
		{Queueing{Size: 10, CLP: 11}, "the CLP threshold 11"},
		{Queueing{Size: 10, EPD: -1}, "the EPD threshold -1"},
		{Queueing{EFCI: DefaultQueue + 1}, "the EFCI threshold 1025"},
		{Queueing{Weights: [Classes]int{1, 1, -1}}, "the weight -1 of cbr"},
		{Queueing{Weights: [Classes]int{1, maxWeight + 1, 1}}, "the weight 65537 of vbr"},
	} {
		if _, err := NewLine(nil, LineConfig{Name: "a-b", Queueing: tt.q}); err == nil || !strings.Contains(err.Error(), `line "a-b": `) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.q, err, tt.want)
		}
	}
}

func TestClassString(t *testing.T) {
	if got := fmt.Sprint(UBR, VBR, CBR, Classes); got != "ubr vbr cbr Class(3)" {
		t.Error(got)
	}
}
