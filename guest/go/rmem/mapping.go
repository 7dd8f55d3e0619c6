package rmem

import "unsafe"

// Map maps n bytes of the segment at off into this address space, to be read, and
// with Write or Atomic written, as any slice: the owner's pages themselves. n, and the
// address of the range at the owner, are multiples of the page. The owner must run on
// this machine, under the same rmemrun, with no network between that is emulated.
//
// The slice ends with Unmap, with Release of the descriptor, with the owner's Revoke,
// and when the owner ends or executes a program. An access to it then raises SIGBUS,
// which in Go is a fault that panics, and can be recovered from, after
// debug.SetPanicOnFault(true).
//
// Errors: EDESC, EINVAL (rights, n of 0; the owner is elsewhere), EPERM (these rights
// were not imported; or to write without to read), EALIGN, ERANGE, EDOWN, ESTALE,
// EINHIBIT, ENOSPC.
func (d Desc) Map(off, n uint64, rights Rights) ([]byte, error) {
	guard()
	result := insnMap(off, int32(d), n, uint32(rights))
	if result < 0 {
		return nil, Error(result)
	}
	// The address of memory that Go has not allocated: the word is reinterpreted, as a
	// conversion from uintptr is for Go's own.
	base := uintptr(result)
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&base)), n), nil
}

// Unmap ends what Map has returned, all of it. The descriptor stays. Errors: EINVAL
// (not, or no longer, mapped).
func Unmap(mapped []byte) error {
	guard()
	return failure(insnUnmap(uintptr(unsafe.Pointer(unsafe.SliceData(mapped)))))
}
