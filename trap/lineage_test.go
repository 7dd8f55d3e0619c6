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
