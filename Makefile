# The few commands a person types. `make demo` and `make test` install what they need.

.DEFAULT_GOAL := help
CARGO ?= cargo
IMAGE ?= plana-jobs:0.1.0
# A test waits for its servers most of the time.
TEST_THREADS ?= $(shell cpus=$$(nproc); echo $$((cpus > 4 ? cpus : 4)))

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Back up a throwaway platform, look at the result, clean up
	@tools/install-deps.sh demo
	@tools/demo.sh

test: ## Install what the tests need and run all of them
	@tools/install-deps.sh test
	RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --workspace --locked

lint: ## Formatting and clippy, as CI runs them
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

build: ## The optimised binaries, in target/release
	@tools/install-deps.sh build
	$(CARGO) build --release --locked

image: ## The container image, with podman or docker (IMAGE=name:tag)
	$(or $(shell command -v podman),docker) build -t $(IMAGE) .

deb: ## The Debian package, in target
	@tools/install-deps.sh build
	$(CARGO) build --release --locked
	$(CARGO) build --release --locked -p plana-scenarios --bin plana-manuals
	@tools/make-deb.sh

bench: ## Compare with the pipelines a user would write, side by side (ONLY=dump-one: one section)
	@tools/install-deps.sh bench
	$(CARGO) build --release --locked
	$(CARGO) build --release --locked -p plana-plan --example plan-a-million
	$(CARGO) run --locked -p plana-benches -- $(ONLY)

clean: ## Remove what was built
	$(CARGO) clean

.PHONY: help demo test lint build image deb bench clean
