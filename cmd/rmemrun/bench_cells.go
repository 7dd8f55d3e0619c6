package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"rmemrun/atm"
)

// benchCellsCommand measures what one cell of 40 bytes costs the processor and prints it as the programs of testprogs/bench do.
func (a *app) benchCellsCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "cells MS",
		Short:  "Measure the encoding, decoding and checks of a cell",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			ms, err := strconv.Atoi(args[0])
			if err != nil || ms < 1 {
				return usage("%s: not a number of milliseconds", args[0])
			}
			for _, c := range []struct {
				item  string
				fresh bool
			}{{"cell", false}, {"cell-fresh", true}} {
				if err := benchCells(a.stdout, c.item, c.fresh, time.Duration(ms)*time.Millisecond); err != nil {
					return failed("measure cells: %w", err)
				}
			}
			return nil
		},
	}
}

// benchCells times batches of cells: encoded as a circuit does it, with its header, operation word, 40 bytes and CRC-10; then HEC,
// CRC-10, circuit, sequence number and bounds checked and the data stored. With fresh, a word of the 40 bytes has just been stored:
// wide loads of it wait until it has reached the cache.
func benchCells(w io.Writer, item string, fresh bool, d time.Duration) error {
	const (
		size  = 40
		count = 1000 // cells of a batch
		slots = 16   // of the ring: a cell is decoded when half as many more have been encoded
	)
	var (
		ring    [slots]atm.Cell
		source  [size]byte
		segment [4096]byte
		vc      = atm.VC{VCI: 100}
		header  = atm.Header{VC: vc}.Octets() // with its HEC: of a circuit it is made once
		took    []time.Duration
	)
	encode := func(i uint32) error {
		if fresh {
			binary.LittleEndian.PutUint64(source[:], uint64(i))
		}
		offset := i * size % (uint32(len(segment)) - size)
		return header.EncodeSSM(&ring[i%slots], uint8(i), uint16(i>>4), 1<<28|offset, source[:])
	}
	decode := func(i uint32) error {
		cell := &ring[i%slots]
		h, ok := cell.Header()
		if !ok || h.VC != vc {
			return fmt.Errorf("cell %d has a wrong header", i)
		}
		m, err := atm.DecodeSSM(cell)
		if err != nil {
			return err
		}
		at := int(binary.BigEndian.Uint32(m.Payload) & (1<<27 - 1))
		data := m.Payload[4:]
		if m.SN != uint8(i)&0xf || at > len(segment)-len(data) {
			return fmt.Errorf("cell %d is out of its place", i)
		}
		copy(segment[at:], data)
		return nil
	}
	next := uint32(0)
	for ; next < slots/2; next++ {
		if err := encode(next); err != nil {
			return err
		}
	}
	begin := time.Now()
	for time.Since(begin) < d*6/5 || len(took) < 2 {
		start := time.Now()
		for range count {
			if err := encode(next); err != nil {
				return err
			}
			if err := decode(next - slots/2); err != nil {
				return err
			}
			next++
		}
		took = append(took, time.Since(start))
	}
	out := bufio.NewWriter(w)
	for _, t := range took[1+len(took)/6:] { // the first warm up
		fmt.Fprintf(out, "batch %s %d %d %d\n", item, size, count, t.Nanoseconds())
	}
	return out.Flush()
}
