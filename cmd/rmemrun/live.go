package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"rmemrun/runtime"
)

// A run can be asked about its network by another rmemrun of the same user: it listens on the abstract Unix socket
// rmemrun-PID. Each connection carries one request and its answer, JSON objects.
//
// Nobody else is answered: both ends look who is at the other (SO_PEERCRED, unix(7)), as anybody can connect to an abstract
// socket, or take its name before.

// liveVersion is that of requests and answers.
const liveVersion = 1

// A liveRequest is a question.
type liveRequest struct {
	Version  int           `json:"version"`
	Command  string        `json:"command"` // "report", "ping", "link"
	Circuits bool          `json:"circuits,omitempty"`
	From     string        `json:"from,omitempty"`
	To       string        `json:"to,omitempty"`
	Timeout  time.Duration `json:"timeout_ns,omitempty"`
	Link     string        `json:"link,omitempty"`
	Down     bool          `json:"down,omitempty"`
}

// A liveAnswer is the answer.
type liveAnswer struct {
	Error  string                 `json:"error,omitempty"`
	Report *runtime.NetworkReport `json:"report,omitempty"`
	Hops   []runtime.Hop          `json:"hops,omitempty"`
}

// Bounds of what a connection may use.
const (
	liveConnections = 16
	liveRequestSize = 4096
	livePatience    = 10 * time.Second
)

// liveAddress is where the run of a process listens.
func liveAddress(pid int) *net.UnixAddr {
	return &net.UnixAddr{Name: fmt.Sprintf("@rmemrun-%d", pid), Net: "unix"}
}

// sameUser returns an error unless the process at the other end of a connection is of this user, or root.
func sameUser(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var errCred error
	if err := raw.Control(func(fd uintptr) { cred, errCred = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if errCred != nil {
		return errCred
	}
	if cred.Uid != uint32(os.Geteuid()) && cred.Uid != 0 {
		return fmt.Errorf("it belongs to user %d", cred.Uid)
	}
	return nil
}

// answerFrom is what a network answers to a request.
func answerFrom(m *runtime.NetworkMonitor, q liveRequest) liveAnswer {
	fail := func(err error) liveAnswer { return liveAnswer{Error: err.Error()} }
	if q.Version != liveVersion {
		return fail(fmt.Errorf("the request is of version %d, and this rmemrun speaks version %d: use the same rmemrun for both", q.Version, liveVersion))
	}
	switch q.Command {
	case "report":
		r := m.Report(q.Circuits)
		return liveAnswer{Report: &r}
	case "ping":
		from := m.First()
		if q.From != "" {
			var err error
			if from, err = m.Node(q.From); err != nil {
				return fail(err)
			}
		}
		to, err := m.Node(q.To)
		if err != nil {
			return fail(err)
		}
		hops, err := m.Ping(from, to, q.Timeout)
		if err != nil {
			return fail(err)
		}
		return liveAnswer{Hops: hops}
	case "link":
		if err := m.SetLink(q.Link, q.Down); err != nil {
			return fail(err)
		}
		return liveAnswer{}
	}
	return fail(fmt.Errorf("there is no command %q", q.Command))
}

// serveLive lets a network be asked until stop is called. A run that cannot be asked is a run all the same.
func serveLive(m *runtime.NetworkMonitor, log hclog.Logger) (stop func()) {
	l, err := net.ListenUnix("unix", liveAddress(os.Getpid()))
	if err != nil {
		log.Debug(`this run cannot be looked at by "rmemrun net"`, "error", err)
		return func() {}
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, liveConnections)
	all.Go(func() {
		for {
			c, err := l.AcceptUnix()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // of that one connection
				continue
			}
			select {
			case slots <- struct{}{}:
			default:
				c.Close()
				continue
			}
			go func() {
				defer func() { <-slots }()
				defer c.Close()
				if err := sameUser(c); err != nil {
					log.Debug("a request was refused", "error", err)
					return
				}
				_ = c.SetDeadline(time.Now().Add(livePatience)) // a Unix socket has deadlines
				var q liveRequest
				answer := liveAnswer{}
				if err := json.NewDecoder(io.LimitReader(c, liveRequestSize)).Decode(&q); err != nil {
					answer.Error = fmt.Sprintf("the request is none: %v", err)
				} else {
					answer = answerFrom(m, q)
				}
				if err := json.NewEncoder(c).Encode(answer); err != nil {
					log.Debug("an answer was not read", "error", err)
				}
			}()
		}
	})
	return func() {
		l.Close()
		all.Wait()
	}
}

// errNoRun is that a process cannot be asked.
var errNoRun = errors.New("it does not run guests, or not in this network namespace")

// errClosed is that it does not answer.
var errClosed = errors.New("it closed the connection: it has ended, or belongs to another user")

// askLive asks the run of a process.
func askLive(pid int, q liveRequest) (liveAnswer, error) {
	fail := func(err error) (liveAnswer, error) {
		return liveAnswer{}, fmt.Errorf("ask process %d about its network: %w", pid, err)
	}
	c, err := net.DialUnix("unix", nil, liveAddress(pid))
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fail(errNoRun)
	}
	if err != nil {
		return fail(err)
	}
	defer c.Close()
	if err := sameUser(c); err != nil {
		return fail(err)
	}
	_ = c.SetDeadline(time.Now().Add(livePatience)) // a Unix socket has deadlines
	q.Version = liveVersion
	if err := json.NewEncoder(c).Encode(q); errors.Is(err, syscall.EPIPE) {
		return fail(errClosed)
	} else if err != nil {
		return fail(err)
	}
	var answer liveAnswer
	if err := json.NewDecoder(c).Decode(&answer); err != nil {
		if err == io.EOF || errors.Is(err, syscall.ECONNRESET) { // a request that was not read resets it
			err = errClosed
		}
		return fail(err)
	}
	if answer.Error != "" {
		return answer, errors.New(answer.Error)
	}
	return answer, nil
}
