//go:build linux && amd64

package trap

import "testing"

// A process that is killed while it forks has a child that nobody told of.
func TestKilledWhileCreating(t *testing.T) {
	h := newEcho()
	want(t, h, 0, "120 killed\n", fixture(t, "killed"), "40")
	if h.spaces != 0 {
		t.Errorf("%d address spaces did not end", h.spaces)
	}
}

// The tracer is not told of these children.
func TestUntracedChildren(t *testing.T) {
	want(t, newEcho(), 0, "exit 5\nexit 5\nexit 5\nexit 5\nexit 5\n2 in our memory\n", fixture(t, "untraced"))
}
