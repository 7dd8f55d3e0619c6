package capture

import _ "embed"

// Lua is a dissector for Wireshark and tshark, which shows the messages of the remote memory
// protocol (docs/protocol.md) in captures of both link types.
//
//go:embed rmem.lua
var Lua string
