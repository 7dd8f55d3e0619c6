// Package guest holds what a guest program is compiled against: rmem.h, the C and C++ binding, carried here so that
// `rmemrun cc` needs no other file than its own; and, in go/rmem, the Go binding. docs/guests.md tells how to use both.
package guest

import _ "embed"

// Header is the text of rmem.h.
//
//go:embed rmem.h
var Header []byte
