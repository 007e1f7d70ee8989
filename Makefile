# Carnet's build. `make` alone lists what there is.
#
# Everything that a target needs and that is missing, it installs first: tools in scripts/tools, into .tools/ or, for
# programs that tests drive, with the system's package manager.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
TOOLS   := $(CURDIR)/.tools/bin

# The race detector watches the rooms of the house, which is where the concurrency is, but not what the SQLite engine does
# in its own memory, which would take half of the time. The suites above them drive the ordinary binary, at its ordinary
# speed.
ROOMS   = ./access/... ./token/... ./internal/...
RACE    := -race -gcflags='modernc.org/sqlite/lib=-race=false'
# Suites that drive a server run on the embedded store, and these once more on PostgreSQL.
SHARED  := ./test/contract ./test/incidents ./test/property ./test/revocation ./test/secrets
# The longest come first, so that none of them is left to run alone.
SUITES  = ./test/nodes ./test/guards $$($(GO) list ./... | grep -vE '^carnet/(access|token|internal)(/|$$)')

# pipefail: what fails inside a pipe fails the target.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

.PHONY: run
run: build ## Serve a demonstration organization on http://127.0.0.1:8080
	bin/carnet serve --demo

.PHONY: build
build: ## Build bin/carnet, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/carnet ./cmd/carnet

.PHONY: test
test: tools check unit suites shared ## Check and test everything, as CI does

.PHONY: check
check: tools ## Format, vet, lint, and whether generated files are fresh
	scripts/check

.PHONY: unit
unit: ## Test the rooms, under the race detector
	$(GO) test $(RACE) -json $(ROOMS) | $(GO) run ./internal/tools/testreport

.PHONY: suites
suites: ## Test the whole: command line, browser, crashes, properties
	$(GO) test -timeout 12m -json $(SUITES) | $(GO) run ./internal/tools/testreport

.PHONY: shared
shared: ## Test the whole on PostgreSQL, where it does not matter which engine there is
	CARNET_TEST_ENGINE=postgres CARNET_PROPERTY_CHECKS=200 $(GO) test -timeout 12m -json $(SHARED) | $(GO) run ./internal/tools/testreport

.PHONY: soak
soak: ## The suites at full size: hours, not minutes
	scripts/tools soak
	CARNET_SOAK=1 $(GO) test -count=1 -timeout 12h -v $(SUITES)
	CARNET_SOAK=1 CARNET_TEST_ENGINE=postgres CARNET_PROPERTY_CHECKS=5000 $(GO) test -count=1 -timeout 12h -v $(SHARED)

.PHONY: bench
bench: ## Measure
	$(GO) test -run '^$$' -bench . -benchmem $(ROOMS)
	CARNET_SOAK=1 $(GO) test -count=1 -timeout 1h -v ./test/bench

.PHONY: generate
generate: tools ## Make generated files anew: SQL in Go, tables in the docs
	$(TOOLS)/sqlc generate
	$(GO) test ./access -run RoleTables -update >/dev/null

.PHONY: lint
lint: tools ## Lint only
	$(TOOLS)/golangci-lint run

.PHONY: tools
tools: # Install what the other targets need and this machine lacks
	@scripts/tools

.PHONY: clean
clean: ## Remove what was built; installed tools and data stay
	rm -rf bin
