# What people do with LogHog's sources. Each target installs what it lacks.
#
#   make quickstart          build it, run it, log to it, look at the files
#   make test                everything that must hold before a change goes in
#   make test-long           the same, then test-crash, test-hosts and fuzz
#   make test-crash          kill -9 under load, CRASH_ROUNDS=300 times a scenario; then
#                            the proof: CRASH_EVENTS=1000 and CRASH_MESSAGES=10000000
#   make test-hosts          HOSTS=5000 files that are due at once
#   make test-pythons        the Python client under each Python from 3.9 to 3.13, and 3.14t, here
#   make fuzz                every fuzz target for SECONDS=600
#   make bench               side by side with what people use today
#   make deb                 the Debian packages, in target/deb
#   make test-package        these, tried in fresh systems of Debian 12 and 13 (needs root)
#   make wheels              the Python client for x86_64 and aarch64, in target/dist
#   make clean

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
# The steps of a test run in order: later ones use what earlier ones built.
.NOTPARALLEL:
.DEFAULT_GOAL := help

SECONDS ?= 600
CRASH_ROUNDS ?= 300
CRASH_EVENTS ?= 1000
CRASH_MESSAGES ?= 10000000
HOSTS ?= 5000
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

export CARGO_TARGET_DIR ?= $(CURDIR)/target
export PATH := $(HOME)/.cargo/bin:$(PATH)
BINARIES := $(CARGO_TARGET_DIR)/debug
ENVIRONMENT := $(CARGO_TARGET_DIR)/python

# What the proof tells of itself; docs/proof.md is one of these.
PROOF_REPORT ?= $(CARGO_TARGET_DIR)/proof.md

# One Python for every build of the client.
export PYO3_PYTHON := $(ENVIRONMENT)/bin/python

# maturin alone builds the Python client, in its own way; cargo would build it
# once more. The layer for tracing is a feature of the Rust client.
FEATURES := --features loghog/tracing
REST := --workspace --exclude loghog-python $(FEATURES)

# Where the scenarios find a Python with the wheel.
export LOGHOG_PYTHON := $(PYO3_PYTHON)

step = @printf '\n== %(%T)T  %s\n' -1 '$(1)'

.PHONY: help
help:
	@sed -n 's/^#   //p' Makefile

.PHONY: test
test: setup format lint build wheel unit pytest doc shipped fuzz-smoke
	$(call step,all is well)

.PHONY: test-long
test-long: test test-crash test-hosts
	@$(MAKE) --no-print-directory fuzz SECONDS=$(SECONDS)

.PHONY: setup
setup:
	$(call step,set-up: what is missing)
	tools/setup
	tools/python "$(ENVIRONMENT)"
	tools/kafka
	tools/debian-programs influxdb influxd=influxdb victoria-metrics=victoria-metrics
	tools/debian-programs prometheus promtool=prometheus
	tools/s3-services

.PHONY: format
format: setup
	$(call step,formatting: cargo fmt --check)
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check

.PHONY: lint
lint: setup
	$(call step,lints: cargo clippy)
	cargo clippy --quiet --locked --workspace $(FEATURES) --all-targets -- -D warnings

.PHONY: build
build: setup
	$(call step,build: cargo build)
	cargo build --quiet --locked $(REST) --all-targets

.PHONY: wheel
wheel: setup
	$(call step,wheel: maturin build)
	tools/wheel "$(ENVIRONMENT)"

.PHONY: unit
unit: build wheel
	$(call step,tests and scenarios: cargo test)
	cargo test --quiet --locked $(REST) --no-fail-fast

.PHONY: pytest
pytest: build wheel
	$(call step,tests of the Python client: pytest and mypy)
	cd client-python
	"$(PYO3_PYTHON)" -m pytest -q
	"$(PYO3_PYTHON)" -m mypy python

.PHONY: doc
doc: setup
	$(call step,documentation: cargo doc)
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --locked --no-deps --workspace $(FEATURES)

.PHONY: shipped
shipped: build
	$(call step,what is shipped: loghogd check-config and mandoc)
	tools/check-shipped "$(BINARIES)"

.PHONY: fuzz-smoke
fuzz-smoke: setup
	$(call step,a few seconds of each fuzz target)
	for target in $(FUZZ_TARGETS); do tools/fuzz $$target 10; done

.PHONY: fuzz
fuzz: setup
	$(call step,$(SECONDS) seconds of each fuzz target)
	for target in $(FUZZ_TARGETS); do tools/fuzz $$target $(SECONDS); done

.PHONY: test-crash
test-crash: build wheel
	$(call step,kill -9 under load: $(CRASH_ROUNDS) rounds)
	LOGHOG_CRASH_ROUNDS=$(CRASH_ROUNDS) cargo test --locked -p loghog-tests --test crash --test lossless \
	    --test ship_influxdb --test ship_s3 --test ship_kafka
	@$(MAKE) --no-print-directory proof

.PHONY: proof
proof: build wheel
	$(call step,the proof: $(CRASH_EVENTS) events and $(CRASH_MESSAGES) messages)
	LOGHOG_CRASH_ROUNDS=$(CRASH_EVENTS) LOGHOG_CRASH_MESSAGES=$(CRASH_MESSAGES) \
	    LOGHOG_PROOF_REPORT="$(PROOF_REPORT)" cargo test --locked -p loghog-tests --test proof -- --nocapture

.PHONY: test-hosts
test-hosts: build
	$(call step,$(HOSTS) hosts with a file each that is due at midnight)
	LOGHOG_HOSTS=$(HOSTS) cargo test --locked -p loghog-tests --test many_hosts -- --nocapture

.PHONY: test-pythons
test-pythons: wheel
	$(call step,the Python client under every Python that is here)
	cargo build --quiet --locked -p loghogd
	tools/python-versions

.PHONY: deb
deb: setup
	$(call step,Debian packages: dpkg-buildpackage)
	tools/deb

.PHONY: test-package
test-package: setup
	$(call step,the packages in fresh systems)
	tools/test-package

.PHONY: wheels
wheels: setup
	$(call step,wheels and source distribution of the Python client)
	cargo build --quiet --locked -p loghogd
	tools/wheels

.PHONY: quickstart
quickstart: setup
	tools/quickstart "$(ENVIRONMENT)"

.PHONY: bench
bench: setup
	bench/run

.PHONY: clean
clean:
	cargo clean --quiet
	rm -rf fuzz/corpus fuzz/artifacts .quickstart
