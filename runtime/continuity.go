package runtime

import (
	"rmemrun/atm"
)

// A link that loses everything while its signal stays is dead and looks well. So the two ends of each link that may lose cells check its
// continuity (I.610, clause 9.2.1.1.2): each second either sends a cell on the F4 end-to-end flow of the link's virtual path 0, and one that
// receives no cell at all for 3.5 s declares loss of continuity, which is a failure of the link as if the signal were gone.
//
//	switch ─ pathEnd 0 ──── way 0 ────▶ pathEnd 1 ─ switch
//	                 ◀──── way 1 ─────
//
// A virtual path ends wherever its virtual channels are switched, which is at both ends of every link here; one stands for all on the link, as
// they share its lines. The circuits have no checks of their own: what ends their paths tells them by AIS.

// A pathEnd is one end of the virtual path 0 of a cable. It takes the cells that come out of the cable there.
type pathEnd struct {
	oam *atm.OAMEnd
	to  atm.Receiver // takes all but the cells of the path's own management
}

// Receive takes a cell that has come out of the cable.
func (e *pathEnd) Receive(c *atm.Cell) {
	if _, oam := c.OAMFlow(); oam {
		if _, ok := c.Header(); !ok { // a damaged header is the next switch's to find
			e.to.Receive(c)
			return
		}
	}
	if !e.oam.Receive(c) {
		e.to.Receive(c)
	}
}

// watch makes the end of virtual path 0 where direction i of the cable leads to, in front of what takes the cells there.
func (f *fabric) watch(c *cable, i int, to atm.Receiver) *pathEnd {
	here := 1 - i
	c.paths[here] = &pathEnd{
		oam: atm.NewOAMEnd(atm.OAMEndConfig{
			Clock: f.clock, Path: true, ID: locationID(c.ends[here].name), Send: &c.ways[here],
			OnChange: func() { f.look(c, i) },
		}),
		to: to,
	}
	return c.paths[here]
}

// checkContinuity begins with the continuity checks of a cable that has them. The first cell is sent after a period, so that the ends
// of a short run need none, and the first cells of a link are its circuits'.
func (f *fabric) checkContinuity(c *cable) {
	for _, e := range c.paths {
		if e == nil {
			continue
		}
		e.oam.SetContinuity(false, true)
		f.later(atm.OAMPeriod, func() { e.oam.SetContinuity(true, true) })
	}
}

// continuous reports whether cells come out of direction i of a cable, as far as its end can tell.
func (c *cable) continuous(i int) bool {
	e := c.paths[1-i]
	return e == nil || e.oam.Alarms()&atm.AlarmLOC == 0
}

// A Defect is what the far end of a link has noticed, a set of bits.
type Defect uint8

const (
	// NoSignal: the link is cut, and no signal comes.
	NoSignal Defect = 1 << iota
	// NoContinuity: for 3.5 s no cell has come, though continuity checks are sent (loss of continuity, LOC).
	NoContinuity
)

// String is "no signal", "loss of continuity", or both; "" if there is no defect.
func (d Defect) String() string {
	switch d & (NoSignal | NoContinuity) {
	case NoSignal:
		return "no signal"
	case NoContinuity:
		return "loss of continuity"
	case NoSignal | NoContinuity:
		return "no signal, loss of continuity"
	}
	return ""
}
