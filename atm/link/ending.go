package link

import "sync"

// An ending is how a link ends: once, for one reason.
type ending struct {
	once *sync.Once
	done chan struct{}
	why  *error // may be read when done is closed
}

func newEnding() ending {
	return ending{once: new(sync.Once), done: make(chan struct{}), why: new(error)}
}

// end ends the link; only the first reason counts.
func (e ending) end(why error) {
	e.once.Do(func() {
		*e.why = why
		close(e.done)
	})
}

// err is the reason, nil before the end.
func (e ending) err() error {
	select {
	case <-e.done:
		return *e.why
	default:
		return nil
	}
}
