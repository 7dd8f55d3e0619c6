package trap

// A Patcher is a Handler that serves stubs. All its methods are called on the engine's
// own OS thread and must not block but for what the stubs of others do.
type Patcher interface {
	// Board is the file that the stubs of an address space are to look at, and its
	// size: it is mapped there, read-only, before the first instruction is replaced.
	// A descriptor below 0: none, this space keeps to traps.
	Board(*Space) (fd int, length uint64)

	// Placed says where the board is in the guest, and whether the guest takes part
	// in membarrier(2), MEMBARRIER_CMD_GLOBAL_EXPEDITED.
	Placed(s *Space, addr uint64, expedited bool)

	// Threaded says that from now on more than one thread may run in the space.
	Threaded(*Space)

	// Help has the ring of that number served until nothing waits in it.
	Help(s *Space, ring uint32)

	// Staged returns the source, of n bytes, of a write whose stub has copied it to the staging
	// memory of the space, and has its frame at that address; nil: it is not there. It stays
	// until Unstage. processor is the one that the stub ran on. The guest can change either all the time.
	Staged(s *Space, frame, n uint64) (source []byte, processor int)

	// Unstage says that what the stub with that frame may have staged is not needed any more.
	// It is called as often as a thread may have been in a stub, and does nothing if the
	// staging memory is not that stub's.
	Unstage(s *Space, frame uint64)

	// Retire says that the stubs of the space must leave everything to the trap from
	// now on.
	Retire(*Space)
}
