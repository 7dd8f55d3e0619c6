package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// maxLabelled is the length, in bytes, at which a line that has not ended is written without waiting for its end.
const maxLabelled = 64 << 10

// A labeller copies what guests write, line by line, each line with its node before it. A line is written whole, so that
// lines of different nodes never mix; a last line without its newline is given one when the guest has ended.
type labeller struct {
	mu sync.Mutex // held while a line is written to any output
	wg sync.WaitGroup
}

// attach returns a pipe for a guest to write to, whose lines go to out with the node's label. The caller closes the pipe
// when the guest has it.
func (l *labeller) attach(node int, out io.Writer) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for the output of node %d: %w", node, err)
	}
	l.wg.Go(func() {
		defer r.Close()
		l.copy(r, out, fmt.Appendf(nil, "[%d] ", node))
	})
	return w, nil
}

// wait returns when all that the guests have written is copied: every process that held a pipe has ended or closed it.
func (l *labeller) wait() { l.wg.Wait() }

// copy copies in to out with label before each line, until in ends. When out cannot be written to any more, what comes is
// read and dropped, so that the guest is not held up by a reader that has gone.
func (l *labeller) copy(in io.Reader, out io.Writer, label []byte) {
	line := append(make([]byte, 0, 4096), label...)
	buf := make([]byte, 32<<10)
	for {
		n, err := in.Read(buf)
		for data := buf[:n]; len(data) > 0; {
			end := bytes.IndexByte(data, '\n') + 1
			whole := end > 0
			if !whole {
				end = len(data)
			}
			line = append(line, data[:end]...)
			data = data[end:]
			if whole || len(line) >= maxLabelled {
				out = l.write(out, line, whole)
				line = line[:len(label)]
			}
		}
		if err != nil {
			if len(line) > len(label) {
				l.write(out, line, false)
			}
			return
		}
	}
}

// write writes one line to out, with a newline if it lacks one. It returns the output for the next line.
func (l *labeller) write(out io.Writer, line []byte, whole bool) io.Writer {
	if !whole {
		line = append(line, '\n')
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := out.Write(line); err != nil && !errors.Is(err, io.ErrShortWrite) {
		return io.Discard
	}
	return out
}
