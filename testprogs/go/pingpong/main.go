// Pingpong [ROUNDS [BYTES]]: two nodes write to each other in turn. No node asks to
// be woken: the data is written, and its owner, who polls its own memory, sees it.
//
// BYTES is a multiple of 8. The message of round r has r in each of its words, so it
// is there when the last word to change is r: an aligned word is never seen half
// written, and no order of the words is relied upon.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"unsafe"

	"rmemrun/guest/go/rmem"
)

const most = 65536 / 8 // words

func main() {
	rounds, err := argument(1, "ROUNDS", 1000, 1_000_000_000)
	if err != nil {
		usage(err)
	}
	size, err := argument(2, "BYTES", 40, most*8)
	if err != nil {
		usage(err)
	}
	if rmem.Nodes() < 2 || size%8 != 0 {
		usage(fmt.Errorf("needs two nodes (rmemrun -n 2 %s) and BYTES a multiple of 8", os.Args[0]))
	}
	if rmem.Node() > 1 {
		return // two play
	}
	if err := play(rounds, int(size)); err != nil {
		fmt.Fprintf(os.Stderr, "node %d: %v\n", rmem.Node(), err)
		os.Exit(1)
	}
}

func usage(err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
	os.Exit(2)
}

// argument returns argument n as a number from 1 to most.
func argument(n int, name string, normally, most uint64) (uint64, error) {
	if n >= len(os.Args) {
		return normally, nil
	}
	v, err := strconv.ParseUint(os.Args[n], 0, 64)
	if err != nil || v < 1 || v > most {
		return 0, fmt.Errorf("%s must be a number from 1 to %d, not %q", name, most, os.Args[n])
	}
	return v, nil
}

// asBytes returns the memory of words.
func asBytes(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))
}

func play(rounds uint64, size int) error {
	box, message := make([]uint64, most), make([]uint64, size/8)
	if _, err := rmem.Export("box", asBytes(box), rmem.Write); err != nil {
		return fmt.Errorf("export box: %w", err)
	}
	me := rmem.Node()
	desc, err := rmem.Import("box", 1-me, rmem.Write, rmem.Forever)
	if err != nil {
		return fmt.Errorf("import box: %w", err)
	}

	send := func(round uint64) error {
		for i := range message {
			message[i] = round
		}
		return desc.Write(0, asBytes(message), 0)
	}
	for round := uint64(1); round <= rounds; round++ {
		if me == 0 {
			if err := send(round); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		for i := range message {
			for {
				seen := atomic.LoadUint64(&box[i])
				if seen == round {
					break
				}
				if seen != round-1 {
					return fmt.Errorf("word %d holds %d in round %d", i, seen, round)
				}
				runtime.Gosched()
			}
		}
		if me == 1 {
			if err := send(round); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
	}
	if err := desc.Fence(); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	if me == 0 {
		fmt.Printf("%d round trips of %d bytes, every word right\n", rounds, size)
	}
	return nil
}
