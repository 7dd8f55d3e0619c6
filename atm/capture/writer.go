package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"rmemrun/atm"
)

// A Link is the form in which a capture keeps cells.
type Link uint8

const (
	// ERF keeps cells without HEC, and AAL5 PDUs: what analysis wants.
	ERF Link = iota
	// USER0 keeps cells with their HEC, and no PDUs: for work on header errors.
	USER0
	linkCount
)

// links are the names, and the numbers that pcapng has for them
// (https://www.tcpdump.org/linktypes.html).
var links = [linkCount]struct {
	name   string
	number layers.LinkType
}{
	ERF:   {"erf", 197},
	USER0: {"user0", 147},
}

// Links returns the names that ParseLink takes, the default first.
func Links() []string {
	var names []string
	for _, l := range links {
		names = append(names, l.name)
	}
	return names
}

// ParseLink returns the link type with a name, "erf" or "user0".
func ParseLink(name string) (Link, error) {
	for l, known := range links {
		if known.name == name {
			return Link(l), nil
		}
	}
	return 0, fmt.Errorf("no link type is called %q; there is %s", name, strings.Join(Links(), " and "))
}

// String is the link type's name.
func (l Link) String() string {
	if l < linkCount {
		return links[l].name
	}
	return fmt.Sprintf("Link(%d)", uint8(l))
}

// A Direction is the way of a cell through a port.
type Direction uint8

const (
	Out Direction = iota // from the node to the network
	In                   // from the network to the node
)

// Config is how a capture is made.
type Config struct {
	Link Link
	// Start is the time of day of a cell at time 0.
	Start time.Time
	// AAL5 reports whether a circuit, as it is called at a port, carries AAL5. With ERF, its PDUs are
	// written too. Nil: no circuit does.
	AAL5 func(port string, vc atm.VC) bool
	// Ports are the names of the first interfaces, at least one. Others are added
	// when their first cell comes.
	Ports []string
}

// FlushInterval is how long a packet is kept in memory at most, while the reader keeps up.
const FlushInterval = 100 * time.Millisecond

const bufferSize = 64 << 10

// A Writer writes one capture. It is safe for concurrent use.
type Writer struct {
	link  Link
	start time.Time
	aal5  func(string, atm.VC) bool

	mu     sync.Mutex
	file   *pcapgo.NgWriter
	ports  map[string]int // interface numbers
	record [recordMax]byte
	pdus   assembly
	timer  *time.Timer // flushes; armed while there is something to flush
	armed  bool
	closed bool
	err    error  // the first of writing
	missed uint64 // cells that came after it
}

// NewWriter begins a capture, and writes its header and its first interfaces at once.
func NewWriter(w io.Writer, cfg Config) (*Writer, error) {
	if len(cfg.Ports) == 0 {
		return nil, errors.New("capture: no port to capture at")
	}
	if cfg.Link >= linkCount {
		return nil, fmt.Errorf("capture: no link type has the number %d", cfg.Link)
	}
	c := &Writer{link: cfg.Link, start: cfg.Start, aal5: cfg.AAL5, ports: map[string]int{}}
	if c.aal5 == nil || cfg.Link != ERF {
		c.aal5 = func(string, atm.VC) bool { return false }
	}
	c.pdus.open = map[circuit]*pdu{}
	var options pcapgo.NgWriterOptions
	options.SectionInfo.Application = "rmemrun"
	// The writer takes a buffer of this size for its own.
	file, err := pcapgo.NewNgWriterInterface(bufio.NewWriterSize(w, bufferSize), c.port(cfg.Ports[0]), options)
	if err != nil {
		return nil, fmt.Errorf("capture: writing the header: %w", err)
	}
	c.file = file
	c.ports[cfg.Ports[0]] = 0
	for _, name := range cfg.Ports[1:] {
		if _, err := c.number(name); err != nil {
			return nil, fmt.Errorf("capture: writing the header: %w", err)
		}
	}
	if err := file.Flush(); err != nil {
		return nil, fmt.Errorf("capture: writing the header: %w", err)
	}
	c.timer = time.AfterFunc(time.Hour, c.flush)
	c.timer.Stop()
	return c, nil
}

// port describes the interface of a port.
func (w *Writer) port(name string) pcapgo.NgInterface {
	return pcapgo.NgInterface{Name: name, LinkType: links[w.link].number, TimestampResolution: 9}
}

// number is the number of a port's interface, which is added if need be. w.mu is held.
func (w *Writer) number(name string) (int, error) {
	if n, ok := w.ports[name]; ok {
		return n, nil
	}
	n, err := w.file.AddInterface(w.port(name))
	if err == nil {
		w.ports[name] = n
	}
	return n, err
}

// Cell writes a cell that passed a port in one direction, at the time t since
// the capture's start, and the AAL5 PDU that it ends. If the cell was discarded, drop says why in
// a word; it is empty otherwise. The cell is not kept.
//
// An error of writing is reported by Close.
func (w *Writer) Cell(t time.Duration, port string, dir Direction, c *atm.Cell, drop string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	if w.err == nil {
		w.err = w.cell(t, port, dir, c, drop)
	}
	if w.err != nil {
		w.missed++
		return
	}
	if !w.armed {
		w.armed = true
		w.timer.Reset(FlushInterval)
	}
}

func (w *Writer) cell(t time.Duration, port string, dir Direction, c *atm.Cell, drop string) error {
	n, err := w.number(port)
	if err != nil {
		return err
	}
	p := packet{port: n, dir: dir, time: w.start.Add(t)}
	if drop != "" {
		p.comments[0] = "dropped: " + drop
	}
	_, p.sound = c.Header()
	if w.link == USER0 {
		return w.write(&p, c[:], len(c))
	}
	whole := (*pdu)(nil)
	if p.sound && c.PT().User() && w.aal5(port, c.VC()) && !w.pdus.off {
		if whole = w.pdus.add(circuit{n, dir, c.VC()}, c); w.pdus.off {
			p.comments[1] = "too many PDUs are unfinished: from here on there are cells only"
		}
	}
	if err := w.write(&p, w.erf(erfATM, &p, c, c.Payload()[:]), atmHeaderSize+atm.PayloadSize); err != nil {
		return err
	}
	if whole == nil {
		return nil
	}
	defer w.pdus.free(whole)
	return w.pdu(p, c, whole)
}

// pdu writes the record of a whole PDU, whose last cell c is p.
func (w *Writer) pdu(p packet, c *atm.Cell, whole *pdu) error {
	length := atmHeaderSize + whole.length
	if length > erfLengthMax-erfHeaderSize {
		p.truncated = true
		p.comments[1] = fmt.Sprintf("PDU of %d cells, truncated: an ERF record has no place for it", whole.length/atm.PayloadSize)
		length = min(length, erfLengthMax)
	}
	return w.write(&p, w.erf(erfAAL5, &p, c, whole.octets), length)
}

// A packet is what is said of a packet beside its octets.
type packet struct {
	port      int
	dir       Direction
	time      time.Time
	sound     bool // the HEC is right
	truncated bool
	comments  [2]string // empty: none
}

// flags are the directions as pcapng has them.
var flags = [...]pcapgo.NgEpbFlags{
	Out: {Direction: pcapgo.NgEpbFlagDirectionOutbound},
	In:  {Direction: pcapgo.NgEpbFlagDirectionInbound},
}

// write writes a packet of which data is there of length octets that there were, pseudo-header not counted.
func (w *Writer) write(p *packet, data []byte, length int) error {
	if w.link == ERF {
		length += erfHeaderSize
	}
	info := gopacket.CaptureInfo{
		Timestamp: p.time, CaptureLength: len(data), Length: max(length, len(data)), InterfaceIndex: p.port,
	}
	options := pcapgo.NgPacketOptions{Flags: &flags[p.dir&1]}
	for _, text := range p.comments {
		if text != "" {
			options.Comments = append(options.Comments, text)
		}
	}
	return w.file.WritePacketWithOptions(info, data, options)
}

// flush writes what is in the buffer, when the timer says so.
func (w *Writer) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	if w.err == nil && !w.closed {
		w.err = w.file.Flush()
	}
}

// Close writes what is left. It does not close what the capture is written to. The error is the first
// one of writing, with the number of cells that came after it.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.closed = true
		w.timer.Stop()
		if w.err == nil {
			w.err = w.file.Flush()
		}
	}
	if w.err != nil {
		return fmt.Errorf("writing the capture: %w; what was in its buffer and %d later cells are missing", w.err, w.missed)
	}
	return nil
}
