# make            builds bin/rmemrun
# make test       all that has to pass before a change lands; installs by apt what the tests need, if it is run by root
# make test-long  what takes too long for that: the tests that "go test -short" skips, and the figures of performance

GO          ?= go
STATICCHECK  = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 5s

SHELL       := /bin/bash
.SHELLFLAGS := -o pipefail -c

.PHONY: all test test-long tools lint cross fuzz unit clean

all:
	$(GO) build -o bin/ ./cmd/rmemrun

test: tools lint cross fuzz unit

tools:
	@.ci/tools

lint:
	@echo 'gofmt, vet, staticcheck'
	@bad=$$(gofmt -l .) && test -z "$$bad" || { echo "gofmt would change:"; echo "$$bad"; exit 1; }
	@$(GO) vet ./...
	@$(STATICCHECK) ./...

# Everything that is not bound to the processor builds for arm64, its tests too.
cross:
	@echo 'build and vet for arm64'
	@GOARCH=arm64 $(GO) build ./...
	@GOARCH=arm64 $(GO) vet ./...

# Every fuzz test for a short while; go test finds their names nowhere but in the files. One whose time runs out in the middle of an input may say that it has
# failed, without one that fails: it is done once more.
fuzz:
	@grep -r '^func Fuzz' --include='*_test.go' . | sed 's,/[^/]*:func \(Fuzz[A-Za-z0-9_]*\).*, \1,' | sort | \
	while read -r dir name; do \
		echo "fuzz $$dir $$name for $(FUZZTIME)"; \
		for try in 1 2; do \
			out=$$($(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$dir" 2>&1) && break; \
			test $$try = 1 && grep -q 'context deadline exceeded' <<<"$$out" && ! grep -q 'Failing input' <<<"$$out" || { echo "$$out"; exit 1; }; \
			echo 'the time ran out in the middle of an input: once more'; \
		done || exit 1; \
	done

# The race detector needs a C compiler. What trap's guests do they must do under both of its engines.
unit:
	@$(GO) build -o bin/ ./internal/testsummary
	@race=; if command -v gcc >/dev/null; then race=-race; else echo 'no gcc: tests run without the race detector'; fi; \
	{ $(GO) test -short $$race -timeout 20m -json ./... && \
	RMEMRUN_TEST_ENGINE=patch $(GO) test -short $$race -timeout 20m -skip '^TestPatched' -json ./trap; } | bin/testsummary

test-long: tools
	@$(GO) build -o bin/ ./internal/testsummary
	@{ $(GO) test -timeout 60m -json ./... && \
	RMEMRUN_TEST_ENGINE=patch $(GO) test -timeout 60m -skip '^TestPatched' -json ./trap; } | bin/testsummary

clean:
	rm -rf bin
