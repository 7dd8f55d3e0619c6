package runtime

// pause tells the processor that this is a loop that waits (Intel SDM, volume 2, PAUSE).
//
//go:noescape
func pause()
