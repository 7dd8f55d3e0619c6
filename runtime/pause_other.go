//go:build !amd64

package runtime

// pause is for processors that are to be told that a loop waits.
func pause() {}
