package rmem

import "testing"

// Where words are not loaded and stored in pairs, the same is copied.
func TestDepositAndCollectWords(t *testing.T) {
	defer func(was bool) { pairs = was }(pairs)
	pairs = false
	TestDepositAndCollect(t)
}
