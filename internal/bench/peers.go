package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"rmemrun/testprogs/peers"
)

// What peers can do. Sizes above 40 bytes show what a block costs.
const (
	onesided = "put:40 get:40 cas:8 fadd:8 put:1048576 put-asleep:40"
	noAtomic = "put:40 get:40 put:1048576 put-asleep:40"
)

// A library is one installation that peers run with.
type library struct {
	install string // Debian's packages
	// find says how to compile and launch, or what is missing.
	find func() (compile, launch []string, missing string)
}

// firstOf is the first program that is there.
func firstOf(names ...string) string {
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			return path
		}
	}
	return ""
}

// mpi finds an MPI by the names that Debian gives it, or by the plain ones if what is behind them says that it is the one.
func mpi(suffix, says string, launch ...string) func() ([]string, []string, string) {
	return func() ([]string, []string, string) {
		mpicc, mpirun := firstOf("mpicc."+suffix), firstOf("mpirun."+suffix)
		if mpicc == "" || mpirun == "" {
			mpicc, mpirun = firstOf("mpicc"), firstOf("mpirun")
			if mpicc == "" || mpirun == "" {
				return nil, nil, "there is no mpicc." + suffix + " and mpirun." + suffix
			}
			if out, err := exec.Command(mpirun, "--version").Output(); err != nil || !strings.Contains(string(out), says) {
				return nil, nil, "mpirun is not that of " + says
			}
		}
		return []string{mpicc}, append([]string{mpirun}, launch...), ""
	}
}

// openMPI runs two processes of Open MPI. The programs confine themselves, so it must not; a hardware thread is as good as a core.
var openMPI = []string{"-np", "2", "--bind-to", "none", "--use-hwthread-cpus"}

// openMPIEnv lets root run Open MPI, which refuses otherwise.
var openMPIEnv = []string{"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"}

func (b *Bench) libraries() map[string]library {
	header := func(name string, link ...string) func() ([]string, []string, string) {
		return func() ([]string, []string, string) {
			for _, dir := range []string{"/usr/include", "/usr/local/include"} {
				if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
					return append([]string{b.CC}, link...), nil, ""
				}
			}
			return nil, nil, "there is no header " + name
		}
	}
	return map[string]library{
		"openmpi": {"openmpi-bin libopenmpi-dev", mpi("openmpi", "Open MPI", openMPI...)},
		"mpich":   {"mpich libmpich-dev", mpi("mpich", "HYDRA", "-np", "2")},
		"oshmem": {"openmpi-bin libopenmpi-dev", func() ([]string, []string, string) {
			oshcc, oshrun := firstOf("oshcc"), firstOf("oshrun")
			if oshcc == "" || oshrun == "" {
				return nil, nil, "there is no oshcc and oshrun"
			}
			return []string{oshcc}, append([]string{oshrun}, openMPI...), ""
		}},
		"fabric":   {"libfabric-dev", header("rdma/fabric.h", "-lfabric")},
		"ucp":      {"libucx-dev", header("ucp/api/ucp.h", "-lucp", "-lucs")},
		"perftest": {"ucx-utils", func() ([]string, []string, string) { return nil, nil, lacks("ucx_perftest") }},
	}
}

// lacks says that a program is not there; "" if it is.
func lacks(program string) string {
	if firstOf(program) == "" {
		return "there is no " + program
	}
	return ""
}

// A peerSpec is a peer before it is known whether it is installed.
type peerSpec struct {
	name, class, library string
	program, text        string
	variant              string
	items                string
	launch, env          []string // beside the library's
}

// peerSpecs are all peers. What is left out of items is what this peer, or this version of it, cannot do, and docs/commands/bench.md says why.
func peerSpecs() []peerSpec {
	// What Open MPI is told: --mca osc chooses how it does one-sided communication; it has no useful choice of its own.
	osc := func(name string, more ...string) []string { return append([]string{"--mca", "osc", name}, more...) }
	tcp := []string{"UCX_TLS=tcp,self", "UCX_NET_DEVICES=lo"}
	shm := []string{"UCX_TLS=posix,sysv,cma,self"}
	return []peerSpec{
		{"Open MPI osc/rdma, Win_create", ClassUser, "openmpi", "mpi-openmpi", peers.MPI, "create", onesided, osc("rdma"), openMPIEnv},
		{"Open MPI osc/ucx, Win_create", ClassUser, "openmpi", "mpi-openmpi", peers.MPI, "create", onesided, osc("ucx"), append(shm, openMPIEnv...)},
		{"MPICH, Win_create", ClassUser, "mpich", "mpi-mpich", peers.MPI, "create", onesided, nil, nil},
		{"OpenSHMEM, static", ClassUser, "oshmem", "shmem", peers.SHMEM, "static", onesided + " pingpong:40", osc("ucx"), append(shm, openMPIEnv...)},
		{PeerFabricShm, ClassUser, "fabric", "fabric", peers.Fabric, "shm", onesided + " write:40 write-asleep:40", nil, nil},
		{"UCX ucp, malloc", ClassUser, "ucp", "ucp", peers.UCP, "malloc", onesided, nil, shm},
		{"UCX perftest, cma", ClassUser, "perftest", "", "", "cma", "put:40 get:40 put:1048576", nil, nil},

		{"Open MPI osc/sm, Win_allocate", ClassMapped, "openmpi", "mpi-openmpi", peers.MPI, "allocate", onesided, osc("sm"), openMPIEnv},
		// Not the atomics: 4.1.4 crashes in them.
		{"Open MPI osc/rdma, Win_allocate", ClassMapped, "openmpi", "mpi-openmpi", peers.MPI, "allocate", noAtomic, osc("rdma"), openMPIEnv},
		{"Open MPI osc/ucx, Win_allocate", ClassMapped, "openmpi", "mpi-openmpi", peers.MPI, "allocate", onesided, osc("ucx"), append(shm, openMPIEnv...)},
		{"MPICH, Win_allocate", ClassMapped, "mpich", "mpi-mpich", peers.MPI, "allocate", onesided, nil, nil},
		{PeerShmemHeap, ClassMapped, "oshmem", "shmem", peers.SHMEM, "heap", onesided + " pingpong:40", osc("ucx"), append(shm, openMPIEnv...)},
		{"UCX ucp, mapped", ClassMapped, "ucp", "ucp", peers.UCP, "mapped", onesided, nil, shm},
		{PeerPerftestShm, ClassMapped, "perftest", "", "", "posix", "pingpong:40 post:40 get:40 cas:8 fadd:8 put:1048576", nil, []string{"UCX_TLS=posix,self"}},

		{PeerUCPTCP, ClassNet, "ucp", "ucp", peers.UCP, "malloc", onesided, nil, tcp},
		{PeerFabricTCP, ClassNet, "fabric", "fabric", peers.Fabric, "tcp;ofi_rxm", onesided + " write:40 write-asleep:40", nil, nil},
		{"Open MPI osc/pt2pt, TCP", ClassNet, "openmpi", "mpi-openmpi", peers.MPI, "create", onesided, osc("pt2pt", "--mca", "pml", "ob1", "--mca", "btl", "tcp,self"), openMPIEnv},
		{"MPICH, TCP", ClassNet, "mpich", "mpi-mpich", peers.MPI, "create", onesided, nil, tcp},
		{"OpenSHMEM, TCP", ClassNet, "oshmem", "shmem", peers.SHMEM, "heap", onesided + " pingpong:40", osc("ucx"), append(tcp, openMPIEnv...)},
		{"UCX perftest, TCP", ClassNet, "perftest", "", "", "tcp", "pingpong:40 cas:8 fadd:8", nil, []string{"UCX_TLS=tcp,self", "UCX_NET_DEVICES=lo"}},
	}
}

// peerSubjects are the peers: those that are installed can run, the others say what they lack.
func (b *Bench) peerSubjects(ctx context.Context) []*Subject {
	libraries := b.libraries()
	compiled := map[string]error{}
	var subjects []*Subject
	for _, p := range peerSpecs() {
		l := libraries[p.library]
		s := &Subject{Name: p.name, Class: p.class, items: itemsOf(p.items)}
		subjects = append(subjects, s)
		compile, launch, missing := l.find()
		if missing == "" && p.text != "" {
			err, known := compiled[p.program]
			if !known {
				b.Progress("compiling " + p.program)
				err = b.compileOne(ctx, compile[:1], p.program, p.text, compile[1:]...)
				compiled[p.program] = err
			}
			if err != nil {
				missing = err.Error()
			}
		}
		if missing != "" {
			s.Missing, s.Install = missing, "apt install "+l.install
			continue
		}
		if p.library == "perftest" {
			s.run = perftest(p.variant, p.env)
			s.Version = perftestVersion()
			continue
		}
		s.run = func(ctx context.Context, l *launcher, items []string) ([]byte, error) {
			program := l.program(p.program)
			args := l.args(true, append([]string{p.variant}, items...)...)
			if launch == nil {
				return l.output(ctx, l.cpus[:], p.env, program, args...)
			}
			argv := append(append(append(launch[:len(launch):len(launch)], p.launch...), program), args...)
			return l.output(ctx, l.cpus[:], p.env, argv[0], argv[1:]...)
		}
	}
	return subjects
}

// sweepFigures are what plots of sizes and of nodes show.
func sweepFigures(subjects []*Subject) []Figure {
	var figures []Figure
	add := func(name string, ours Probe, other *Probe, relation Relation) {
		figures = append(figures, Figure{Group: GroupSweep, Name: name, Ours: ours, Other: other, Relation: relation, Trips: 1})
	}
	for _, s := range subjects {
		if s.Name != FloorVM && !hasPut(s) {
			continue
		}
		for _, size := range sweepSizes {
			add(fmt.Sprintf("write of %d bytes", size), counterpart(s.Class, item{"put", size}), &Probe{s.Name, "put", size}, Ratio)
		}
	}
	for _, size := range sweepSizes {
		add(fmt.Sprintf("copy of %d bytes", size), Probe{FloorMemory, "copy", size}, nil, Absolute)
	}
	for _, n := range sweepNodes {
		add(fmt.Sprintf("write among %d nodes", n), Probe{oursNodes(n), "put", 40}, nil, Absolute)
		add(fmt.Sprintf("all-to-all of %d guests", n), Probe{oursNodes(n), "alltoall", 40}, nil, Absolute)
	}
	return figures
}

// hasPut says whether a peer's put can be measured with any size.
func hasPut(s *Subject) bool {
	for _, i := range s.items {
		if i.name == "put" && i.size == 40 {
			return true
		}
	}
	return false
}
