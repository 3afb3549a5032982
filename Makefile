# Everything an operator or a developer types; `make` alone tells what there is.
#
# Recipes are thin: what needs more than a line or two lives in scripts/, one purpose a file.

SHELL         := /bin/bash
.SHELLFLAGS   := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Cargo, and nginx's own make under it, run in parallel by themselves.
.NOTPARALLEL:

# A line that starts with `#:` describes the variable below it in `make help`.
#: where `make run` keeps its configuration, logs, socket, pid files and key
BX_PUSH_DIR      ?= run/
#: public address: /bitrix/sub/, /bitrix/subws/ and the demo page
BX_PUSH_PUBLIC   ?= 127.0.0.1:8080
#: internal address, loopback only: /bitrix/pub/
BX_PUSH_INTERNAL ?= 127.0.0.1:8895
#: the key that signs channels; empty: generated once, kept in BX_PUSH_DIR (mode 0600)
BX_PUSH_KEY      ?=
#: unix:///path or redis://host:port/db; empty: messages are kept in memory
BX_PUSH_REDIS    ?=
#: nginx's worker processes: a number, or auto for one a core
BX_PUSH_WORKERS  ?= auto
#: `make sim`: how many seeds
SEEDS            ?= 10000
#: `make sim`: the first of them
FIRST            ?= 1
#: `make sim`: just this one, with its trace
SEED             ?=
export BX_PUSH_DIR BX_PUSH_PUBLIC BX_PUSH_INTERNAL BX_PUSH_KEY BX_PUSH_REDIS BX_PUSH_WORKERS

# The nginx that is installed; Debian keeps it where a user's PATH does not look.
NGINX_BINARY ?= /usr/sbin/nginx
CARGO ?= cargo
export NGINX_BINARY CARGO

.PHONY: help
help: ## this list
	@printf 'Targets\n'
	@sed -nE 's/^([a-z-]+):.* ## (.*)$$/  \1\t\2/p' Makefile | expand -t 14
	@printf '\nVariables (make run NAME=value, or from the environment)\n'
	@sed -nE '/^#: /{s/^#: //;h;n;s/^([A-Z_]+) *\?= *(.*)$$/  \1\t[\2]\t/;G;s/\n//;p}' Makefile | expand -t 20,38

.PHONY: deps
deps: ## install what `make run` needs and the machine lacks (Debian packages)
	@scripts/install-deps.sh run

.PHONY: build
build: deps ## release builds: build/ngx_http_bx_push_module.so and build/push-sidecar
	@scripts/build-module.sh installed
	@scripts/build-sidecar.sh

.PHONY: demo
demo: deps ## bundle the demo page into build/demo/
	@scripts/build-demo.sh

.PHONY: run
run: build demo ## start sidecar and nginx in the foreground; Ctrl-C stops them
	@scripts/run.sh

#: `make install`: a folder in front of everything, for packagers
DESTDIR ?=
#: `make install`: where programs, man pages and units go
PREFIX  ?= /usr/local
.PHONY: install
install: ## install what `make build` has built, below PREFIX and where nginx looks; configuration files are never overwritten
	@DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) scripts/install.sh install

.PHONY: uninstall
uninstall: ## take it away again, configuration aside
	@DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) scripts/install.sh uninstall

.PHONY: deb-deps
deb-deps: deps
	@scripts/install-deps.sh deb

.PHONY: deb
deb: deb-deps build ## a Debian package of everything, for the nginx that is installed: build/bx-push_….deb
	@scripts/deb.sh

.PHONY: test-package
test-package: deb-deps build ## that package in a fresh Debian 12: installed, used, upgraded, removed, purged; wants root
	@scripts/test-package.sh

.PHONY: vendored
vendored: test-deps ## nginx 1.28 and the module for it, for the tests: build/vendored/
	@scripts/build-module.sh vendored

.PHONY: test-deps
test-deps: deps
	@scripts/install-deps.sh test

.PHONY: test
test: test-deps build vendored demo ## everything that can be tested: units, vectors, end to end
	@scripts/test.sh

#: how long `make fuzz` fuzzes, all targets together
SECONDS ?= 60
.PHONY: fuzz
fuzz: ## any input at every parser, and at a whole worker, for SECONDS; wants a nightly Rust or a stable one
	@FUZZ_SECONDS=$(SECONDS) scripts/fuzz.sh

.PHONY: autobahn
autobahn: test-deps ## Autobahn's fuzzing client, cases 1 to 7 and 10, against an echo location; wants a Python 2.7
	@scripts/autobahn.sh

.PHONY: sim
sim: ## seeds of the simulation; `make sim SEED=17` shows everything that happens in one
	@SEED=$(SEED) SEEDS=$(SEEDS) FIRST=$(FIRST) scripts/sim.sh

.PHONY: chaos
chaos: test-deps build ## kills, cuts and starves everything under traffic; `make chaos CHAOS=kill-redis,storm CHAOS_COUNT=100`
	@$(CARGO) run --release --locked --quiet -p push-chaos

.PHONY: test-asan
test-asan: test-deps ## the end-to-end suites with the module and nginx under sanitizers
	@scripts/test-asan.sh

.PHONY: bench-deps
bench-deps: deps
	@scripts/install-deps.sh bench

#: options of push-bench suite, e.g. BENCH="--only fanout --rounds 5"
BENCH ?=
.PHONY: bench
bench: bench-deps build ## measure everything against nchan and the limits, and write docs/performance.md
	@scripts/bench.sh $(BENCH)

.PHONY: bench-quick
bench-quick: bench-deps build ## all budgets in two minutes: pass or miss
	@scripts/bench.sh quick

#: anything: `make bench-instructions` writes its table instead of comparing
UPDATE ?=
.PHONY: bench-instructions
bench-instructions: bench-deps ## instructions and allocations of the hot paths, against push-bench/instructions.md
	@scripts/bench-instructions.sh $(if $(UPDATE),--update)

.PHONY: bench-serve
bench-serve: bench-deps build ## start what is compared, and tell how push-bench reaches it
	@scripts/bench.sh serve

.PHONY: lint
lint: test-deps ## formatting, clippy over all crates, cargo-deny if installed
	@scripts/lint.sh

.PHONY: clean
clean: ## remove what was built (the run directory stays)
	$(CARGO) clean
	rm -rf build demo/node_modules tests/node/node_modules
