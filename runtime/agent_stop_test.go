package runtime

import (
	"testing"
	"time"
)

// TestAgentIsStopped stops agents at all times, also between a look at what they are told and their sleep.
func TestAgentIsStopped(t *testing.T) {
	polls(t, func(t *testing.T, p Poll) {
		for range 200 {
			a := newAgentTest(t, 1, p)
			a.agent.add(&a.stubs[0].charge)
			a.stubs[0].post()
			a.stubs[0].served(t)
			done := make(chan struct{})
			go func() {
				a.agent.stop()
				close(done)
			}()
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("the agent sleeps, and was told to end")
			}
		}
	})
}

// A ring that comes, or the end, after the agent has looked what there is and before it dozes, keeps it from sleeping.
func TestCalledBeforeItDozes(t *testing.T) {
	a := newAgentTest(t, 1, PollNo).agent
	if a.called(nil) {
		t.Error("an agent that was told nothing is called")
	}
	a.charges.Store(&[]*charge{{}})
	if !a.called(nil) {
		t.Error("an agent does not see a ring that has come")
	}
	a.charges.Store(&[]*charge{})
	a.stopping.Store(true)
	if !a.called(nil) {
		t.Error("an agent does not see that it is to end")
	}
}
