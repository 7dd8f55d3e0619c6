package main

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"rmemrun/runtime"
)

// serveTest serves a network at this process's address.
func serveTest(t *testing.T) {
	t.Helper()
	top, err := runtime.BuiltinTopology("ring", 3)
	if err != nil {
		t.Fatal(err)
	}
	m, err := runtime.PlanNetwork(top, 0)
	if err != nil {
		t.Fatal(err)
	}
	stop := serveLive(m, hclog.NewNullLogger())
	t.Cleanup(func() {
		stop()
		m.Close()
	})
}

func TestLive(t *testing.T) {
	serveTest(t)
	pid := os.Getpid()
	answer, err := askLive(pid, liveRequest{Command: "report", Circuits: true})
	if err != nil {
		t.Fatal(err)
	}
	if r := answer.Report; r == nil || len(r.Nodes) != 3 || len(r.Links) != 6 || len(r.Circuits) != 3 {
		t.Errorf("the report is %+v", r)
	}
	if _, err := askLive(pid, liveRequest{Command: "link", Link: "s0-s1", Down: true}); err != nil {
		t.Error(err)
	}
	// The cut is noticed a moment later: until circuits are led around, loopbacks are lost.
	answered := func(h []runtime.Hop) bool {
		return len(h) > 0 && h[len(h)-1].Name == "n1" && h[len(h)-1].Answered
	}
	for try := 0; ; try++ {
		answer, err = askLive(pid, liveRequest{Command: "ping", From: "n0", To: "1", Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if answered(answer.Hops) {
			break
		}
		if try == 20 {
			t.Fatalf("the hops are %+v", answer.Hops)
		}
	}
	for _, q := range []liveRequest{
		{Command: "dance"}, {Command: "link", Link: "x"}, {Command: "ping", From: "n0", To: "n0"}, {Command: "ping", From: "n7", To: "n0"}, {Command: "ping", From: "n0", To: "-1"},
	} {
		if _, err := askLive(pid, q); err == nil {
			t.Errorf("%+v was done", q)
		}
	}
}

// Whatever comes, the socket answers with an error and lives on.
func TestLiveHostile(t *testing.T) {
	serveTest(t)
	for _, text := range []string{"", "\n", "{", "null\n", `{"version":99,"command":"report"}`, `[1]`, strings.Repeat("[", 1<<16), `{"version":"1"}`} {
		c, err := net.DialUnix("unix", nil, liveAddress(os.Getpid()))
		if err != nil {
			t.Fatal(err)
		}
		// What is too long is not read to its end.
		_, _ = io.WriteString(c, text)
		_ = c.CloseWrite()
		var answer liveAnswer
		if err := json.NewDecoder(c).Decode(&answer); err == nil && answer.Error == "" {
			t.Errorf("%.20q was answered: %+v", text, answer)
		}
		c.Close()
	}
	if _, err := askLive(os.Getpid(), liveRequest{Command: "report"}); err != nil {
		t.Error(err)
	}
}

func TestLiveNobody(t *testing.T) {
	if _, err := askLive(os.Getpid(), liveRequest{Command: "report"}); err == nil || !strings.Contains(err.Error(), "does not run guests") {
		t.Errorf("a process that runs nothing: %v", err)
	}
}
