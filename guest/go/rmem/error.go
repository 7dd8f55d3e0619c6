package rmem

import "strconv"

// Error is why an operation was refused. What is refused changes no byte.
type Error int32

// The errors, with the numbers of rmem.h.
const (
	EDESC     Error = -1  // no such segment or descriptor: never given, released, forged
	EPERM     Error = -2  // the right was not granted, or the segment refuses notifications
	ERANGE    Error = -3  // offset + length is outside the segment
	EALIGN    Error = -4  // an atomic off its natural alignment; a length that is no multiple of the swab word
	ESTALE    Error = -5  // the segment was revoked
	EINHIBIT  Error = -6  // the owner refuses writes and atomics at present
	EFAULT    Error = -7  // this program's own buffer is not mapped with the access needed
	EINVAL    Error = -8  // an argument no operation accepts: flags, rights, name, node, memory of the wrong kind
	ENOENT    Error = -9  // the node exports nothing by that name
	EEXIST    Error = -10 // this node already exports that name
	EDOWN     Error = -11 // the other node is gone
	ETIMEDOUT Error = -12 // the time given was up
	ENOSPC    Error = -13 // no more segments, descriptors or circuits
)

var errorText = [...]string{
	-EDESC:     "no such segment or descriptor",
	-EPERM:     "right not granted",
	-ERANGE:    "outside the segment",
	-EALIGN:    "not aligned",
	-ESTALE:    "segment revoked",
	-EINHIBIT:  "segment inhibited by its owner",
	-EFAULT:    "bad local address",
	-EINVAL:    "invalid argument",
	-ENOENT:    "no segment of that name",
	-EEXIST:    "name already exported",
	-EDOWN:     "node is gone",
	-ETIMEDOUT: "timed out",
	-ENOSPC:    "no space for more",
}

// Error returns the text that rmem_strerror in C gives, after "rmem: ".
func (e Error) Error() string {
	if e < 0 && e >= -Error(len(errorText)-1) {
		return "rmem: " + errorText[-e]
	}
	return "rmem: unknown error " + strconv.Itoa(int(e))
}

// failure turns the result of an operation into an error: nil if it is not
// negative.
func failure(result int64) error {
	if result >= 0 {
		return nil
	}
	return Error(result)
}
