//go:build !race

package rmem

const raceDetector = false
