package join

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"rmemrun/atm"
)

// Version is that of everything that two processes say to each other: greetings, signalling, and the protocol of package rmem. Processes
// of different versions do not join.
const Version = 2

// signallingVC carries greetings and signalling: the VC of point-to-point signalling at the UNI (ATM Forum UNI 3.1).
var signallingVC = atm.VC{VCI: 5}

// A greeting, 40 octets, big endian. The first eight octets are the same in every version.
//
//	 0           4        6      7        8       10        12        20        28         40
//	+-----------+---------+------+--------+-------+---------+---------+---------+----------+
//	| r m e m   | version | kind | reason | nodes |    0    |  nonce  | cookie  |   MAC    |
//	+-----------+---------+------+--------+-------+---------+---------+---------+----------+
//
// The MAC is the first 12 octets of the HMAC-SHA-256 of the 28 in front of it, under the secret.
const (
	greetingSize  = 40
	greetingMagic = 0x726d656d
	macOffset     = 28
)

// A greetingKind says what a greeting is for.
type greetingKind uint8

const (
	hello greetingKind = iota + 1
	challenge
	confirm
	welcome
	refuse
)

// A refusal is why a listener refuses.
type refusal uint8

const (
	refusedVersion refusal = iota + 1 // another version
	refusedNodes                      // the nodes of both are more than a job can have
)

// A greeting is one, its fields as in the diagram.
type greeting struct {
	version uint16
	kind    greetingKind
	reason  refusal
	nodes   uint16
	nonce   uint64
	cookie  uint64
}

// put writes g, with its MAC.
func (g *greeting) put(b *[greetingSize]byte, secret []byte) {
	e := binary.BigEndian
	e.PutUint32(b[0:], greetingMagic)
	e.PutUint16(b[4:], g.version)
	b[6], b[7] = byte(g.kind), byte(g.reason)
	e.PutUint16(b[8:], g.nodes)
	e.PutUint16(b[10:], 0)
	e.PutUint64(b[12:], g.nonce)
	e.PutUint64(b[20:], g.cookie)
	copy(b[macOffset:], mac(b[:macOffset], secret))
}

// mac authenticates b.
func mac(b, secret []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write(b)
	return h.Sum(nil)[:greetingSize-macOffset]
}

// parseGreeting reads a greeting. ok: it is one, of whatever version, of which only version, kind and reason are known if it is not
// ours. authentic: it is of our version, and its sender knows the secret.
func parseGreeting(b, secret []byte) (g greeting, ok, authentic bool) {
	e := binary.BigEndian
	if len(b) < 8 || e.Uint32(b) != greetingMagic {
		return g, false, false
	}
	g = greeting{version: e.Uint16(b[4:]), kind: greetingKind(b[6]), reason: refusal(b[7])}
	if g.version != Version {
		return g, true, false
	}
	if len(b) != greetingSize {
		return g, false, false
	}
	g.nodes, g.nonce, g.cookie = e.Uint16(b[8:]), e.Uint64(b[12:]), e.Uint64(b[20:])
	var again [greetingSize]byte // fields without a meaning are 0
	g.put(&again, secret)
	return g, true, hmac.Equal(again[:], b)
}

// cell puts g into a cell.
func (g *greeting) cell(secret []byte) *atm.Cell {
	var b [greetingSize]byte
	g.put(&b, secret)
	var s atm.Segmenter
	var c atm.Cell
	_ = s.Begin(atm.Header{VC: signallingVC}, 0, b[:], nil) // the length is right
	s.Next(&c)
	return &c
}

// readGreeting reads a greeting from a cell of which nothing is known.
func readGreeting(c *atm.Cell, secret []byte) (g greeting, ok, authentic bool) {
	h, right := c.Header()
	if !right || h.VC != signallingVC || h.PT != atm.PTUserEnd {
		return g, false, false
	}
	pdu, _, err := atm.NewReassembler(greetingSize).Add(c)
	if err != nil {
		return g, false, false
	}
	return parseGreeting(pdu.Payload, secret)
}
