// Gosite is a Go program with one remote-memory instruction. It is never run.
package main

func fence()

func main() { fence() }
