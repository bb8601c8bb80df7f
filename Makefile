# fwctl. `make` alone prints this menu.
#
# Only Go, make and, for the tests of the kernel, root are expected to be here;
# scripts/deps.sh installs what else a target needs.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

export CGO_ENABLED := 0

VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS    := -s -w -X main.version=$(VERSION)
LINT       := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
CROSS      := openbsd/amd64 freebsd/amd64 darwin/arm64 linux/arm64
FUZZTIME   ?= 30s
SOAKTIME   ?= 10m
SOAK       ?= 10
SEED       ?= 1000001

# The packages whose tests rewrite their expected files with -update.
GOLDEN = $(shell grep -rlE --include='*_test.go' 'flag[.]Bool."update"' . | xargs -r -n1 dirname | sort -u)
REWRITES = ^Test(Golden|Examples|Profiles|Bad|Language|Docs|Scripts|Readme)
# The packages whose tests draw what they try.
DRAWN  = $(shell grep -rlE --include='*_test.go' 'gen[.](Dose|Seed)' . | xargs -r -n1 dirname | sort -u)
# Every fuzz target, as PACKAGE:FUNCTION.
FUZZ   = $(shell grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed -E 's|^(.*)/[^/]*:func (.*)|\1:\2|' | sort)

.PHONY: help build install test coexist coexist-docker browser bench bench-reload fuzz lint cover cross golden docs demo size soak clean

help: ## print this menu
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/fwctl, static
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/fwctl ./cmd/fwctl

install: build ## program, manual page and what starts it at boot, to $(DESTDIR)$(prefix); enables and starts nothing
	@DESTDIR='$(DESTDIR)' prefix='$(prefix)' system='$(system)' sh scripts/install.sh

test: ## every test; as root also those that need a kernel, in network namespaces of their own
	@scripts/deps.sh
	go vet ./...
	go test -timeout 40m ./...

coexist: ## explain and drift beside ufw, ferm, firewalld, Docker and Podman, in a throwaway root of Debian's packages
	@scripts/deps.sh
	@scripts/coexist.sh

browser: ## the pages of audit in headless Chromium: light, dark, narrow and printed
	@scripts/deps.sh chromium:chromium
	FWCTL_BROWSER=1 go test -count=1 -run '^TestBrowser' ./audit/exposure

demo: ## apply a policy in a throwaway namespace and see by packets what gets in
	@scripts/deps.sh
	@scripts/demo.sh

coexist-docker: ## published ports beside the newest Docker, with both of its backends; builds it, some ten minutes
	@scripts/deps.sh
	@scripts/coexist.sh docker

bench: ## speed, as ratios measured side by side in one run, against the house's limits
	@scripts/deps.sh
	go run ./bench

bench-reload: ## what the network sees of a reload by ufw, firewalld, ferm and fwctl; some minutes
	@scripts/deps.sh
	@scripts/coexist.sh reload

fuzz: ## every fuzz target for FUZZTIME each (30s)
	@for t in $(FUZZ); do \
	  echo "== $$t"; go test "$${t%:*}" -run '^$$' -fuzz "^$${t#*:}\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x; \
	done

soak: ## SOAK (10) times what the tests draw, drawn from SEED, then each fuzz target for SOAKTIME (10m)
	@scripts/deps.sh
	FWCTL_SEED=$(SEED) FWCTL_SOAK=$(SOAK) go test -v -p 1 -count=1 -timeout 240m $(DRAWN) > soak.out 2>&1 || { tail -n 100 soak.out; exit 1; }
	@grep -E '^ +[a-z_]+_test[.]go:|^ok' soak.out
	$(MAKE) fuzz FUZZTIME=$(SOAKTIME)

lint: ## gofmt, go vet, golangci-lint (pinned; its list is .golangci.yml)
	@bad=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$bad" || { echo "not gofmt-ed:"; echo "$$bad"; exit 1; }
	go vet ./...
	go run $(LINT) run --allow-parallel-runners ./...

cover: ## coverage by function, cover.html
	@scripts/deps.sh
	go test -timeout 40m -coverpkg=./... -coverprofile=cover.out ./...
	go tool cover -func=cover.out | tail -n 1
	go tool cover -html=cover.out -o cover.html

cross: ## build and vet for the systems that fwctl is not developed on
	@for p in $(CROSS); do \
	  echo "== $$p"; export GOOS=$${p%/*} GOARCH=$${p#*/}; go build ./... && go vet ./...; \
	done

golden: ## rewrite the expected files of the tests; look at the difference before you commit it
	@for p in $(GOLDEN); do go test "$$p" -run '$(REWRITES)' -update; done

docs: ## rewrite what is generated from the code: man pages, completions, schema
	go generate ./...

size: ## length of functions, against the house's targets
	@go run ./internal/house/size

clean: ## remove what the targets above made
	rm -rf bin dist cover.out cover.html
