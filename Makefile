GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
REVISION  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
CREATED   ?= $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null || echo 1970-01-01T00:00:00Z)
PLATFORMS ?= linux/$(shell $(GO) env GOARCH)
STATIC     = CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)"
TESTFLAGS ?=
BENCHTIME ?= 3s
LINT      := $(GO) tool -modfile=tools/go.mod golangci-lint

.DEFAULT_GOAL := help
.PHONY: help dev demo examples build generate generate-check image compose-validate k8s-validate workflows-validate test test-integration lint fmt bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: build ## build and run everything on this machine; ARGS="..." is passed on
	bin/plugfn dev $(ARGS)

demo: ## see it work: a small program against a real PlugFn
	$(GO) run ./examples/demo

examples: ## build and test the examples that are modules of their own
	cd examples/web && $(GO) vet ./... && $(GO) test ./...

build: ## build bin/plugfn, which needs no library
	$(STATIC) -o bin/plugfn ./cmd/plugfn

# The packages of the SDK that are made from packs.
typed = github slack

generate: ## write the packages of the SDK that are made from packs
	@for p in $(typed); do $(GO) run ./cmd/plugfn generate go --provider $$p --out pkg/plugfn/$$p -o name || exit 1; done

generate-check: ## check that they are what the packs make
	$(GO) test -run TestGeneratedPackages ./cmd/plugfn/codegen

image: ## build dist/plugfn-image.tar (OCI) and its SBOMs without a container engine, and inspect it; PLATFORMS="linux/amd64 linux/arm64"
	mkdir -p dist
	for p in $(PLATFORMS); do GOOS=$${p%/*} GOARCH=$${p#*/} $(STATIC) -o "dist/$$p/plugfn" ./cmd/plugfn || exit 1; done
	cd deploy && $(GO) run ./image build -out ../dist/plugfn-image.tar -sbom ../dist -version "$(VERSION)" -revision "$(REVISION)" -created "$(CREATED)" \
		$(foreach p,$(PLATFORMS),../dist/$(p)/plugfn)
	cd deploy && $(GO) run ./image inspect $(if $(filter 0,$(shell id -u)),-run) ../dist/plugfn-image.tar

compose-validate: ## check docker-compose.yml, alerts and dashboard, without a container engine
	cd deploy && $(GO) test -run 'Compose|Proxy|Alerts$$|Dashboard|Variables' ./validate

k8s-validate: ## check what deploy/k8s makes, without a cluster
	cd deploy && $(GO) test ./validate

workflows-validate: ## check the workflows of GitHub
	$(GO) tool -modfile=tools/actionlint/go.mod actionlint -shellcheck= -pyflakes=

test test-integration: export GORACE = atexit_sleep_ms=0 # programs with the race detector end at once, not a second later

test: ## run the tests; TESTFLAGS="-race" is passed on
	$(GO) test $(TESTFLAGS) ./...
	cd kms/vault && $(GO) test $(TESTFLAGS) ./...
	cd deploy && $(GO) test ./image

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
	$(MAKE) generate-check

fmt: ## format with gofumpt and goimports
	$(LINT) fmt

bench: ## run the benchmarks; BENCHTIME=3s
	$(GO) test -run '^$$' -bench . -benchtime=$(BENCHTIME) -count 1 ./bench/...

clean: ## remove what was built
	rm -rf bin dist
