package rmem

import "strconv"

// An Error is the outcome of an operation: OK, or why it was refused or
// failed. The numbers are those a guest sees (RMEM_EDESC and so on in rmem.h);
// on the wire a status is the same number without its sign.
type Error int32

// What can be wrong. Local checks are made in the order EDESC, EPERM, EALIGN,
// ERANGE, EDOWN, EFAULT; the first that fails is reported.
const (
	OK        Error = -iota
	EDESC           // no such segment or descriptor: never given out, released, revoked or forged
	EPERM           // a right was not granted
	ERANGE          // outside the segment
	EALIGN          // not aligned, or not a multiple of the word
	ESTALE          // the segment was revoked
	EINHIBIT        // the exporter refuses writes and atomics at present
	EFAULT          // the local buffer is not mapped, or not with the access needed
	EINVAL          // an argument that is never right
	ENOENT          // the node has no segment of that name
	EEXIST          // the node has a segment of that name already
	EDOWN           // the node is gone, or the circuit to it has failed
	ETIMEDOUT       // the time was up
	ENOSPC          // out of circuits, segments or descriptors
	lastError = ENOSPC
)

var errorNames = [...]struct{ name, text string }{
	-OK:        {"OK", "success"},
	-EDESC:     {"EDESC", "no such segment or descriptor, it was never given out, or it is released or revoked"},
	-EPERM:     {"EPERM", "right not granted by the exporter"},
	-ERANGE:    {"ERANGE", "outside the segment"},
	-EALIGN:    {"EALIGN", "not aligned to the word, or not a multiple of it"},
	-ESTALE:    {"ESTALE", "the segment was revoked; import it again"},
	-EINHIBIT:  {"EINHIBIT", "the exporter inhibits writes at present; try again later"},
	-EFAULT:    {"EFAULT", "the local buffer is not mapped, or not with this access"},
	-EINVAL:    {"EINVAL", "invalid argument"},
	-ENOENT:    {"ENOENT", "the node exports no segment of that name"},
	-EEXIST:    {"EEXIST", "the node exports a segment of that name already"},
	-EDOWN:     {"EDOWN", "the node is gone, or the circuit to it failed"},
	-ETIMEDOUT: {"ETIMEDOUT", "timed out"},
	-ENOSPC:    {"ENOSPC", "out of circuits, segments or descriptors; release some"},
}

// Name is the constant's name, "EDESC".
func (e Error) Name() string {
	if e > OK || e < lastError {
		return "Error(" + strconv.Itoa(int(e)) + ")"
	}
	return errorNames[-e].name
}

// Error is a sentence part that says what is wrong.
func (e Error) Error() string {
	if e > OK || e < lastError {
		return "unknown error " + strconv.Itoa(int(e))
	}
	return errorNames[-e].text
}

// status is e as the wire carries it.
func (e Error) status() uint8 { return uint8(-e) }

// statusError is what a status on the wire means. A peer that sends a status
// there is none of has failed.
func statusError(status uint8) Error {
	if e := -Error(status); e >= lastError {
		return e
	}
	return EDOWN
}
