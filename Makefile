# weir. Two targets work on a fresh Debian with Go 1.26 and nothing else:
#
#   make demo     a torrent made, seeded, mounted and read, on this machine alone
#   make test     every test, against foreign BitTorrent clients too
#
#   make install  (as root) weir, its manual pages, completions, units and mount
#                 helpers beneath PREFIX, which is /usr/local; DESTDIR for packages
#
# Others: bench (measures, below ten minutes; BENCHARGS=--help), build, check
# (what CI runs), lint, fuzz (FUZZTIME=30s each), interop (writes the tables of
# docs/interop.md), mutate (changes the pure packages in small ways and counts
# what their tests notice, an hour; MUTATEARGS=-h), vuln (known vulnerabilities in
# what weir uses, where https://vuln.go.dev can be reached), simulate (the engine in simulated
# time: SEEDS=10000 FIRST=1), soak (uses weir for MINUTES=60 while all kinds of
# things go wrong, and compares each byte; SOAKARGS=-h), clean. Foreign clients that
# can't be had are left out by name: make test WEIR_SKIP_PEERS=webtorrent,aria2.

SHELL := /bin/bash
.DEFAULT_GOAL := build

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
GOBUILD   = go build -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'
BUILDTOOL = go -C cmd/proof build -buildvcs=false -o ../../bin/
TOOL      = go tool -modfile="$(CURDIR)/.ci/tools/go.mod"
FUZZTIME ?= 10s
TESTARGS ?=
BENCHARGS ?=
MUTATEARGS ?=
SEEDS     ?= 10000
FIRST     ?= 1
MINUTES ?= 60
SOAKARGS ?=

# weir needs no C; saying so everywhere lets the checks share what they compile.
# Only the race detector does need it.
export CGO_ENABLED = 0
export WEIR_SKIP_PEERS

# Where install puts things. mount(8) looks for mount.fuse.weir in SBINDIR only.
PREFIX  ?= /usr/local
SBINDIR ?= /sbin

.PHONY: build install uninstall man demo test interop bench check fmt vet lint static vuln fuzz mutate simulate soak clean

# One static binary.
build:
	$(GOBUILD) -o bin/weir ./cmd/weir

# The manual pages and completions are made by weir itself, from its commands.
man: build
	bin/weir man bin/man

install: man
	install -D -m 755 bin/weir $(DESTDIR)$(PREFIX)/bin/weir
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(PREFIX)/share/man/man1
	ln -sf $(PREFIX)/bin/weir $(DESTDIR)$(SBINDIR)/mount.fuse.weir
	ln -sf $(PREFIX)/bin/weir $(DESTDIR)$(SBINDIR)/mount.weir
	install -m 644 bin/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	bin/weir completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/weir
	bin/weir completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_weir
	bin/weir completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/weir.fish
	set -e; for unit in user/weir.service user/weir@.service system/weir@.service; do \
		install -d $(DESTDIR)$(PREFIX)/lib/systemd/$${unit%/*}; \
		sed 's|/usr/local|$(PREFIX)|' contrib/systemd/$$unit > $(DESTDIR)$(PREFIX)/lib/systemd/$$unit; done

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/weir $(DESTDIR)$(SBINDIR)/mount.fuse.weir $(DESTDIR)$(SBINDIR)/mount.weir
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/weir.1 $(DESTDIR)$(PREFIX)/share/man/man1/weir-*.1
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/weir
	rm -f $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_weir
	rm -f $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/weir.fish
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/lib/systemd/,user/weir.service user/weir@.service system/weir@.service)

demo:
	@.ci/need run
	@$(MAKE) --no-print-directory build
	@bin/weir demo

# Both modules: weir, and in cmd/proof what measures and proves it.
# The race detector is always on, and fuzz targets run their seeds. Two packages
# run at a time: many of the tests mostly wait for somebody, some keep both cores
# of a small machine busy. None may depend on how fast it gets on; the timeout ends
# what hangs, and is far from what a busy machine takes. The last line
# says what was skipped or left out; TESTARGS=-v prints what passing tests say too.
test:
	@.ci/need test
	@$(BUILDTOOL) ./testreport
	CGO_ENABLED=1 bin/testreport -in .,cmd/proof go test -json -race -p 2 -parallel 6 -timeout 40m $(TESTARGS) ./...

# Who weir gets along with, from the tests that have just passed.
interop:
	@.ci/need test
	CGO_ENABLED=1 go -C cmd/proof test -race -parallel 6 -run TestInterop -count 1 ./foreign -update

# How fast weir is, beside what is possible on the same line: docs/performance.md
# explains it. As root, or it does without delays that real TCP sees.
bench: build
	@.ci/need bench
	@$(BUILDTOOL) ./bench
	bin/bench $(BENCHARGS)

check: fmt vet lint static test
	@$(MAKE) --no-print-directory soak MINUTES=1 SOAKARGS='-seed 1'

fmt:
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "not gofmt'ed:"; echo "$$out"; exit 1; fi

vet:
	go vet ./...
	go -C cmd/proof vet ./...

# Each linter is here for a class of mistake that has cost torrent
# filesystems dearly; versions are pinned in .ci/tools, a module of its own.
#   staticcheck  misused APIs, dead code, impossible conditions
#   errcheck     errors dropped on the floor (a failed Put must never look held);
#                which ones may be is listed with reasons in its file
#   errorlint    comparing errors that were wrapped on the way; not in fs and
#                fs/internal/kernel, where errors are bare errnos: bazil never unwraps
#   nilness      nil dereferences that the data flow proves
#   ineffassign  results computed and never read
#   unparam      parameters and results that mean nothing
lint:
	$(call linters,.)
	$(call linters,cmd/proof)

define linters
	cd $(1) && $(TOOL) staticcheck ./...
	cd $(1) && $(TOOL) errcheck -ignoretests -exclude "$(CURDIR)/.ci/errcheck-exclude.txt" ./...
	cd $(1) && $(TOOL) go-errorlint -test=false $$(go list ./... | grep -v -e /fs$$ -e /fs/internal/kernel$$)
	cd $(1) && $(TOOL) nilness ./...
	cd $(1) && $(TOOL) ineffassign ./...
	cd $(1) && $(TOOL) unparam ./...
endef

# Known vulnerabilities in the modules and the Go release that weir is built with, of
# which it uses the code. Not a part of check, which needs no network once the modules
# are there: the database is asked at https://vuln.go.dev, or where VULNDB says
# (a URL, file:/// too).
VULNDB ?= https://vuln.go.dev
vuln:
	$(TOOL) govulncheck -db $(VULNDB) ./...
	cd cmd/proof && $(TOOL) govulncheck -db $(VULNDB) ./...

# The release binary must need nothing at run time, not even a C library.
static: build
	@if ldd bin/weir >/dev/null 2>&1; then echo "bin/weir is not static"; exit 1; fi
	@echo "bin/weir is static, $$(( $$(stat -c %s bin/weir) >> 20 )) MiB"

# go test fuzzes one target of one package at a time.
fuzz:
	@set -e; for dir in . cmd/proof; do for pkg in $$(go -C $$dir list ./...); do \
		for target in $$(go -C $$dir test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			go -C $$dir test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; done; done

# Which small changes of the packages that decide do their own tests not notice?
# docs/reliability.md has the figures.
mutate:
	@$(BUILDTOOL) ./mutate
	nice bin/mutate $(MUTATEARGS)

# Scripts that seeds draw, run by the whole engine in simulated time. One that fails
# prints how to run it again; docs/reliability.md says what is the same then.
simulate:
	nice go test ./engine -run 'TestSimulation$$' -count 1 -timeout 12h -v -seeds $(SEEDS) -first $(FIRST) | grep -v -e '--- PASS' -e 'simulation_test.go.*: reads'

# The real weir, read by several programs while torrents come and go, peers misbehave
# and weir is killed: docs/reliability.md. Without -seed it is another one each time.
soak: build
	@.ci/need run
	@$(BUILDTOOL) ./soak
	bin/soak -minutes $(MINUTES) $(SOAKARGS)

clean:
	rm -rf bin
