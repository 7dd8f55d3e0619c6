// Package peers holds C programs that measure other libraries for memory access between processes in the way in which rmemrun
// bench measures remote memory: the same items, sizes, CPUs and batches, by package bench's batch.h. Each says in its head which
// calls its items are. They are compiled where the library is installed.
package peers

import _ "embed"

// The programs, and what they are linked with.
var (
	//go:embed src/mpi.c
	MPI string // mpicc
	//go:embed src/shmem.c
	SHMEM string // oshcc
	//go:embed src/fabric.c
	Fabric string // -lfabric
	//go:embed src/ucp.c
	UCP string // -lucp -lucs
)
