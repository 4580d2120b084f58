GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TESTFLAGS ?=
BENCHTIME ?= 3s
LINT      := $(GO) tool -modfile=tools/go.mod golangci-lint

.DEFAULT_GOAL := help
.PHONY: help dev demo build test test-integration lint fmt bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: build ## build and run everything on this machine; ARGS="..." is passed on
	bin/plugfn dev $(ARGS)

demo: ## see it work: a small program against a real PlugFn
	$(GO) run ./examples/demo

build: ## build bin/plugfn
	$(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/plugfn ./cmd/plugfn

test: ## run the tests; TESTFLAGS="-race" is passed on
	$(GO) test $(TESTFLAGS) ./...
	cd kms/vault && $(GO) test $(TESTFLAGS) ./...

# The tests behind the tag integration, and the packages that hold them.
tagged     = $(shell grep -rl --include='*_test.go' '^//go:build integration' . | sort)
tagged_run = $(shell sed -n 's/^func \(Test[A-Za-z0-9_]*\).*/\1/p' $(tagged) | paste -s -d '|' -)

test-integration: ## run the tests that want outside servers or more time; needs redis-server and npm (apt-get install redis-server npm)
	$(GO) test -tags integration $(TESTFLAGS) -run '^($(tagged_run))$$' $(sort $(dir $(tagged)))

lint: ## check format, vet, lint and the import rule (the first run compiles the linter: minutes)
	$(LINT) fmt --diff
	$(GO) vet -tags integration ./...
	cd kms/vault && $(GO) vet ./...
	$(LINT) run
	$(GO) test -run Architecture .

fmt: ## format with gofumpt and goimports
	$(LINT) fmt

bench: ## run the benchmarks; BENCHTIME=3s
	$(GO) test -run '^$$' -bench . -benchtime=$(BENCHTIME) -count 1 ./bench/...

clean: ## remove what was built
	rm -rf bin dist
