# The commands that people type. `make help` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Brokers of a real Kafka (`make up KAFKA=127.0.0.1:9092`); empty is the embedded log.
KAFKA ?=
KAFKA_REPLICATION ?= 1
# More options of `till up`, such as --without chain or --mailbox-port 8026.
ARGS ?=

DATA := .till
TILL := target/debug/till
export PATH := $(HOME)/.cargo/bin:$(PATH)
export KAFKA_REPLICATION

.PHONY: help up demo test clean promises bench soak zero cost images build components machine anvil

help: ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

up: build anvil ## the whole house: builds what is missing, starts everything, Ctrl-C stops it
	@exec $(TILL) up $(if $(KAFKA),--kafka $(KAFKA)) $(ARGS)

demo: build anvil ## a payment from invoice to webhook, told line by line
	@exec $(TILL) demo $(ARGS)

test: build anvil ## everything: unit tests, and the stories on every database and every log
	@tools/test.sh

clean: ## forgets what the house keeps; what is built stays (target/)
	@if command -v flock >/dev/null && [ -e $(DATA)/lock ] && ! flock -n $(DATA)/lock true; then \
	  echo "a house is up in $(DATA): stop it first" >&2; exit 1; fi
	@[ ! -e $(DATA) ] || find $(DATA) -mindepth 1 -maxdepth 1 ! -name tools -exec rm -rf {} +

promises: machine ## which test keeps which promise
	@cargo build --quiet --workspace --bin promises
	@target/debug/promises

bench: machine components ## what it costs, as a table and as JSON (target/bench.json)
	@cargo build --release --workspace --bin till-host --bin till-bridge --bin bench
	@target/release/bench

images: machine ## the two images of a cluster, below 25 MB each to pull (REGISTRY, TAG); needs buildah, podman or docker
	@tools/images.sh release

zero: machine ## what a wake costs: a harness plays Knative's part for one function, and for the same in Node (target/zero.json)
	@LAYOUT_ONLY=1 tools/images.sh release
	@cargo run --quiet -p chart-tests --bin zero

cost: ## what an idle month and a busy day cost, from what make bench and make zero measured
	@cargo run --quiet -p chart-tests --bin cost

SECONDS_OF_SOAK ?= 3600
soak: machine ## the bridge under fire for SECONDS_OF_SOAK (3600): kills, cuts, storms, a full disk; ends with a report
	@SOAK_SECONDS=$(SECONDS_OF_SOAK) cargo test -p bridge --test fire -- --ignored --nocapture soak

build: machine components
	@echo "building till, till-bridge and till-host (the first time takes some minutes)"
	@cargo build --workspace --bins

components: machine
	@echo "building the six functions for WebAssembly"
	@cargo components

machine:
	@tools/machine.sh

anvil:
	@tools/anvil.sh $(DATA)/tools >/dev/null
