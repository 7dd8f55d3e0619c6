package join

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"rmemrun/atm"
	"rmemrun/atm/link"
)

// A Config says how to join.
type Config struct {
	// Address is where to listen or whom to call: [FORM://]HOST[:PORT]. Forms are udp, a pseudowire over MPLS in UDP, which is what no form
	// means; bare, cells in datagrams; and tcp. The port is link.MPLSPort if none is given. To listen, HOST may be empty.
	Address string
	// Secret is known to both. An empty one keeps nobody out who speaks the protocol.
	Secret []byte
	// Nodes is how many this process has, MaxNodes how many there may be in both.
	Nodes, MaxNodes int
	// MTU is for udp: see link.UDPConfig.
	MTU   int
	Clock atm.Clock
	Log   hclog.Logger
	// Listening, if not nil, is told where Listen listens: the port may have been 0.
	Listening func(addr string)
}

// An address is an Address taken apart.
type address struct {
	form, hostPort string
}

// ParseAddress checks an Address and completes it.
func ParseAddress(s string) (string, error) {
	a, err := parseAddress(s)
	if err != nil {
		return "", err
	}
	return a.form + "://" + a.hostPort, nil
}

func parseAddress(s string) (address, error) {
	form, rest, ok := strings.Cut(s, "://")
	if !ok {
		form, rest = "udp", s
	}
	if form != "udp" && form != "bare" && form != "tcp" {
		return address{}, fmt.Errorf("%q: a link is udp://, bare:// or tcp://", s)
	}
	host, port := rest, strconv.Itoa(link.MPLSPort)
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.HasSuffix(rest, "]") && (strings.Count(rest, ":") == 1 || rest[0] == '[') {
		var err error
		if host, port, err = net.SplitHostPort(rest); err != nil {
			return address{}, fmt.Errorf("%q: %w", s, err)
		}
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return address{}, fmt.Errorf("%q: %q is no port, which is 0 to 65535", s, port)
	} else {
		port = strconv.FormatUint(n, 10)
	}
	return address{form, net.JoinHostPort(host, port)}, nil
}

// udp is the configuration of a link over UDP, and the address resolved.
func (a address) udp(ctx context.Context, cfg *Config) (link.UDPConfig, netip.AddrPort, error) {
	u := link.UDPConfig{MTU: cfg.MTU}
	if a.form == "bare" {
		u.Form = link.Bare
	}
	host, port, err := net.SplitHostPort(a.hostPort)
	if err != nil {
		return u, netip.AddrPort{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return u, netip.AddrPort{}, err
	}
	if host == "" {
		return u, netip.AddrPortFrom(netip.Addr{}, uint16(n)), nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return u, netip.AddrPort{}, err
	}
	return u, netip.AddrPortFrom(ips[0].Unmap(), uint16(n)), nil
}

// again is how long a caller waits before it asks again.
const again = 100 * time.Millisecond

// A hall is where cells arrive before there is a trunk, and which passes them on to it afterwards.
type hall struct {
	trunk atomic.Pointer[Trunk]
	greet func(c *atm.Cell)
}

// Receive takes a cell.
func (h *hall) Receive(c *atm.Cell) {
	if t := h.trunk.Load(); t != nil {
		t.Receive(c)
		return
	}
	h.greet(c)
}

// A host decides who comes in.
type host struct {
	cfg *Config
	key [32]byte // of the cookies

	mu     sync.Mutex
	warned bool
	guest  *greeting // who was admitted
}

func newHost(cfg *Config) *host {
	h := &host{cfg: cfg}
	_, _ = rand.Read(h.key[:]) // never fails
	return h
}

// cookie is what a caller has to send back: it shows that he receives what is sent to his address.
func (h *host) cookie(from string, g *greeting) uint64 {
	m := hmac.New(sha256.New, h.key[:])
	var b [10]byte
	binary.BigEndian.PutUint64(b[:], g.nonce)
	binary.BigEndian.PutUint16(b[8:], g.nodes)
	m.Write(b[:])
	m.Write([]byte(from))
	return binary.BigEndian.Uint64(m.Sum(nil))
}

// door decides about a cell of somebody; see link.Door.
func (h *host) door(from string, c *atm.Cell) link.Verdict {
	g, ok, authentic := readGreeting(c, h.cfg.Secret)
	if !ok {
		return link.Reject
	}
	answer := greeting{version: Version, nodes: uint16(h.cfg.Nodes), nonce: g.nonce}
	switch {
	case g.version != Version:
		if g.kind == refuse { // of one who listens, too
			return link.Reject
		}
		h.warn(from, g.version)
		answer.kind, answer.reason = refuse, refusedVersion
	case !authentic:
		return link.Reject
	case g.kind == hello && int(g.nodes)+h.cfg.Nodes > h.cfg.MaxNodes:
		answer.kind, answer.reason = refuse, refusedNodes
	case g.kind == hello && g.nodes > 0:
		answer.kind, answer.cookie = challenge, h.cookie(from, &g)
	case g.kind == confirm && g.cookie == h.cookie(from, &g):
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.guest != nil {
			return link.Reject
		}
		h.guest = &g
		return link.Admit
	default:
		return link.Reject
	}
	*c = *answer.cell(h.cfg.Secret)
	return link.Answer
}

// warn tells once of somebody of another version.
func (h *host) warn(from string, version uint16) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.warned {
		h.warned = true
		h.cfg.Log.Warn("refused an rmemrun of another version", "from", from, "its protocol", version, "ours", Version)
	}
}

// admitted makes the trunk, when somebody has been admitted on a link.
func (h *host) admitted(form string, l link.Link, hall *hall) *Trunk {
	t := newTrunk(h.cfg, false, h.cfg.Nodes, int(h.guest.nodes), h.guest.cookie)
	t.goOver(form, l)
	hall.trunk.Store(t)
	t.welcome(h.guest.nonce)
	return t
}

// Listen waits for another process to call, until ctx is done.
func Listen(ctx context.Context, cfg Config) (*Trunk, error) {
	a, err := parseAddress(cfg.Address)
	if err != nil {
		return nil, err
	}
	h := newHost(&cfg)
	if a.form == "tcp" {
		return h.listenTCP(ctx, a)
	}
	u, local, err := a.udp(ctx, &cfg)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", cfg.Address, err)
	}
	u.Local = local
	listener, err := link.ListenUDP(u)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	h.listening(a.form + "://" + listener.Local().String())
	hall := &hall{greet: func(*atm.Cell) {}} // it will be sent again
	l, err := listener.Accept(ctx, func(from netip.AddrPort, c *atm.Cell) link.Verdict { return h.door(from.String(), c) }, hall)
	if n := listener.Counters().Strangers; n > 0 {
		cfg.Log.Warn("datagrams of strangers came while waiting for the other rmemrun", "datagrams", n)
	}
	if err != nil {
		return nil, err
	}
	return h.admitted(a.form, l, hall), nil
}

func (h *host) listening(addr string) {
	if h.cfg.Listening != nil {
		h.cfg.Listening(addr)
	}
}

const (
	maxCandidates = 8               // connections that are being greeted
	greetingTime  = 5 * time.Second // that one may take
)

// listenTCP waits for a connection by which somebody is admitted.
func (h *host) listenTCP(ctx context.Context, a address) (*Trunk, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", a.hostPort)
	if err != nil {
		return nil, err
	}
	h.listening("tcp://" + listener.Addr().String())
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	won := make(chan *Trunk, 1)
	places := make(chan struct{}, maxCandidates)
	var candidates sync.WaitGroup
	for {
		conn, err := listener.Accept()
		if err != nil && ctx.Err() == nil {
			cancel()
			_ = listener.Close()
			candidates.Wait()
			return nil, fmt.Errorf("listen at %s: %w", a.hostPort, err)
		}
		if err != nil {
			break
		}
		select {
		case places <- struct{}{}:
			candidates.Go(func() {
				if t := h.candidate(ctx, conn); t != nil {
					won <- t
					cancel()
				}
				<-places
			})
		default:
			_ = conn.Close()
		}
	}
	candidates.Wait()
	cancel()
	select {
	case t := <-won:
		return t, nil
	default:
		return nil, fmt.Errorf("listen at %s: %w", a.hostPort, context.Cause(ctx))
	}
}

// candidate greets whoever is at the other end of a connection; nil: he is not admitted.
func (h *host) candidate(ctx context.Context, conn net.Conn) *Trunk {
	answers := make(chan *atm.Cell, 1)
	admitted := make(chan struct{})
	in := false // the link's goroutine's
	hall := &hall{greet: func(c *atm.Cell) {
		if in {
			return
		}
		cell := *c
		switch h.door(conn.RemoteAddr().String(), &cell) {
		case link.Answer:
			select {
			case answers <- &cell:
			default: // he asks faster than he is answered
			}
		case link.Admit:
			in = true
			close(admitted)
		}
	}}
	l := link.NewTCP(conn, hall)
	late := time.NewTimer(greetingTime)
	defer late.Stop()
	for {
		select {
		case c := <-answers:
			l.Receive(c)
			continue
		case <-admitted:
			return h.admitted("tcp", l, hall)
		case <-l.Done():
		case <-late.C:
		case <-ctx.Done():
			select {
			case <-admitted: // in the same moment
				return h.admitted("tcp", l, hall)
			default:
			}
		}
		h.cfg.Log.Warn("a stranger's connection was closed", "from", conn.RemoteAddr())
		_ = l.Close()
		return nil
	}
}

// Why a call fails.
var (
	// ErrVersion: the listener speaks another version of the protocol.
	ErrVersion = errors.New("it speaks another version of the protocol")
	// ErrNodes: both have more nodes together than a job can.
	ErrNodes = errors.New("too many nodes")
)

// An unanswered is a call that came to nothing.
type unanswered struct {
	address, form, why string
	err                error // of the context
}

// Error says who was called, and what may be wrong.
func (u *unanswered) Error() string {
	return fmt.Sprintf("call the rmemrun that listens at %s: %s; start it there with --listen, the same form of link (%s://) and the same secret",
		u.address, u.why, u.form)
}

// Unwrap returns why the call was given up, as the context has it.
func (u *unanswered) Unwrap() error { return u.err }

// Dial calls a process that listens, or will listen before ctx is done.
func Dial(ctx context.Context, cfg Config) (*Trunk, error) {
	a, err := parseAddress(cfg.Address)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	fail := func(err error) (*Trunk, error) {
		if ctx.Err() != nil {
			why := "the call was given up"
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				why = fmt.Sprintf("nobody answered for %v", time.Since(began).Round(100*time.Millisecond))
			}
			return nil, &unanswered{cfg.Address, a.form, why, ctx.Err()}
		}
		return nil, fmt.Errorf("join %s: %w", cfg.Address, err)
	}
	heard := make(chan greeting, 4)
	hall := &hall{greet: func(c *atm.Cell) {
		g, ok, authentic := readGreeting(c, cfg.Secret)
		if ok && (authentic || g.version != Version) {
			select {
			case heard <- g:
			default: // asked again, it will say so again
			}
		}
	}}
	var l link.Link
	if a.form == "tcp" {
		conn, err := dialTCP(ctx, a.hostPort)
		if err != nil {
			return fail(err)
		}
		l = link.NewTCP(conn, hall)
	} else {
		u, peer, err := a.udp(ctx, &cfg)
		if err != nil {
			return fail(err)
		}
		u.Peer = peer
		udp, err := link.DialUDP(u, hall)
		if err != nil {
			return nil, err
		}
		l = udp
	}
	t, err := greet(ctx, &cfg, a.form, l, hall, heard)
	if err != nil {
		_ = l.Close()
		return fail(err)
	}
	return t, nil
}

// dialTCP connects, again and again while nobody listens.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(again):
		}
	}
}

// greet greets the listener.
func greet(ctx context.Context, cfg *Config, form string, l link.Link, hall *hall, heard <-chan greeting) (*Trunk, error) {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	mine := greeting{version: Version, kind: hello, nodes: uint16(cfg.Nodes), nonce: binary.BigEndian.Uint64(random[:])}
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		l.Receive(mine.cell(cfg.Secret))
	wait:
		for {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-l.Done():
				return nil, fmt.Errorf("the link has ended during the greeting: %w", l.Err())
			case <-tick.C:
				break wait
			case g := <-heard:
				switch {
				case g.version != Version:
					return nil, fmt.Errorf("%w: version %d, this rmemrun version %d", ErrVersion, g.version, Version)
				case g.nonce != mine.nonce: // of another call
				case g.kind == refuse && g.reason == refusedNodes:
					return nil, fmt.Errorf("%w: %d here and %d there, a job has at most %d", ErrNodes, cfg.Nodes, g.nodes, cfg.MaxNodes)
				case g.kind == challenge && mine.kind == hello:
					mine.kind, mine.cookie = confirm, g.cookie
					break wait
				case g.kind == welcome && mine.kind == confirm && g.cookie == mine.cookie:
					if g.nodes == 0 || int(g.nodes)+cfg.Nodes > cfg.MaxNodes {
						return nil, fmt.Errorf("%w: %d here and %d there", ErrNodes, cfg.Nodes, g.nodes)
					}
					t := newTrunk(cfg, true, cfg.Nodes, int(g.nodes), g.cookie)
					t.goOver(form, l)
					hall.trunk.Store(t)
					return t, nil
				}
			}
		}
	}
}
