// Package bench measures remote memory beside what bounds it: floors, which are the least that the machine could do, and peers, which
// are other libraries for memory access between processes.
//
// A Subject is one way to run one program. All programs print the same lines (testprogs/bench/src/batch.h): so many operations of
// this item took so long. A Figure divides an item of one subject by an item of another. From the figures follow the pairs of
// subjects that are to run, and what each has to measure.
//
// Time between two CPUs depends on where a hypervisor has put them, which changes within seconds. So nothing is compared that was
// not measured close together: in each round the two subjects of a pair run one behind the other, who is first changing from round
// to round, and a canary - a word that goes to and fro between the two CPUs - runs before, between and after them. The class of a
// run is that of the canaries around it, and a pair counts if both its runs were of one class. The figure is the median of the
// ratios of the pairs of one class: near, if there are enough of it.
//
// A Record is everything that was measured, with what is needed to judge it, as one JSON file. Compare and Plots read records.
package bench
