// Package capture writes what passes the ports of a network to a pcapng file
// or pipe that Wireshark reads, and has the Lua dissector that shows the
// remote memory operations in it.
//
// # Form
//
// The file has one interface for each port. Two link types are there:
//
//   - [ERF], 197: a cell is an ERF record of type ATM, the header without its
//     HEC and the payload. Behind the last cell of an AAL5 CPCS-PDU follows a record of type AAL5
//     with the whole PDU, padding and trailer included, so that Wireshark checks
//     its Length and CRC-32. No format that Wireshark reads has it reassemble cells.
//   - [USER0], 147: a cell is its 53 octets, HEC included. There are no PDUs.
//
// The ERF record (Endace, "Extensible Record Format", types 3 and 4):
//
//	 0                   8      9      10        12        14       16        20
//	+-------------------+------+-------+---------+---------+--------+---------+-------- -
//	| time, little end. | type | flags | record  |  lost   |  wire  |  ATM    | cell or PDU
//	| 32.32 bits        |      |       | length  | records | length | header  |
//	+-------------------+------+-------+---------+---------+--------+---------+-------- -
//
// The two low flags number the port's side: 0 out, from the node to the network (Wireshark: DTE to
// DCE), 1 in. The direction is in the flags of the pcapng packet too. Why a cell was discarded
// is the packet's comment, "dropped: bad-crc10". Times have nanoseconds.
//
// # What is held
//
// [Writer.Cell] may be called by any goroutine. It returns when the cell has been
// copied to a buffer of 64 KiB, which is written when it is full and
// every [FlushInterval]; nothing is dropped. A reader that is slower than the network
// therefore slows the network down, and one that stops stops it. Where writing fails
// the network goes on, and Close says how many cells are missing.
//
// Unfinished PDUs are held up to 64 MiB in all, far more than there are where cells
// arrive in order. Beyond that, from the packet on whose comment says so, the file has cells only.
//
// # Locks
//
// A Writer has one mutex, held while a packet is made and while the buffer is
// written. It calls nothing of ours.
package capture
