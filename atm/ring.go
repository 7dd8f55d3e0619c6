package atm

// A ring is a first-in first-out list that grows to what it has to hold and is then reused. The zero value is empty.
type ring[T any] struct {
	buf  []T // the length is 0 or a power of 2
	head int
	n    int
}

// push makes room for one more at the end and returns where it is, with any content.
func (r *ring[T]) push() *T {
	if r.n == len(r.buf) {
		grown := make([]T, max(2*len(r.buf), 16))
		k := copy(grown, r.buf[r.head:])
		copy(grown[k:], r.buf[:r.head])
		r.buf, r.head = grown, 0
	}
	r.n++
	return r.at(r.n - 1)
}

// at is the i-th from the front.
func (r *ring[T]) at(i int) *T { return &r.buf[(r.head+i)&(len(r.buf)-1)] }

// pop takes the first away; what it was can be read until the next push.
func (r *ring[T]) pop() *T {
	first := r.at(0)
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
	return first
}
