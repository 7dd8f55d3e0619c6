//go:build race

package rmem

// With the race detector sync.Pool drops some of what it is given, so that who uses it allocates.
const raceDetector = true
