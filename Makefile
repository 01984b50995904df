# An index of what can be done here; the logic lives in Rust (xtask, e2e) and in small scripts.
SHELL := /bin/bash
.DEFAULT_GOAL := help

CARGO ?= cargo
BIN := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(BIN)/release
IMAGE ?= orrery:dev

.PHONY: help
help: ## Show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: ## Build and run examples/ on this machine; Ctrl-C stops, data stays in .orrery/
	@$(CARGO) build --release -p orrery
	@$(RELEASE)/orrery up examples/

.PHONY: test
test: ## Pass every test on a fresh machine; installs what it needs
	@scripts/test

.PHONY: lint
lint: ## Formatting, clippy, dependency gates, generated files, charts
	@scripts/lint

.PHONY: generate
generate: ## Write crds/, chart files and docs that are made from the code
	@$(CARGO) xtask generate

.PHONY: conformance-kv
conformance-kv: ## The Redis 7.0.15 TCL suite; writes docs/conformance/kv-redis-tcl.md
	@scripts/need redis-cli tclsh dpkg-source
	@$(CARGO) build --release -p orrery
	@ORRERY_BIN=$(RELEASE)/orrery $(CARGO) run --release -q -p orrery-conformance -- kv --write docs/conformance/kv-redis-tcl.md

.PHONY: conformance-scheduler
conformance-scheduler: ## Rules of time beside croniter's tests and five peers; writes docs/conformance/scheduler-croniter.md
	@scripts/need python3 node npm systemd-analyze
	@$(CARGO) run --release -q -p orrery-conformance -- scheduler --write docs/conformance/scheduler-croniter.md

.PHONY: bench-kv
bench-kv: ## Key-value rows beside redis-server, as ratios
	@scripts/need redis-server redis-benchmark
	@$(CARGO) build --release -p orrery
	@ORRERY_BIN=$(RELEASE)/orrery $(CARGO) run --release -q -p orrery-bench -- kv

.PHONY: bench-journal
bench-journal: ## The journal beside raw append and fdatasync, and carried by PostgreSQL and objects, as ratios
	@scripts/need /usr/lib/postgresql/15/bin/postgres || echo "the rows on PostgreSQL will say 'not run' and why"
	@$(CARGO) run --release -q -p orrery-bench -- journal

.PHONY: bench-store
bench-store: ## The store beside plain fjall and PostgreSQL on the same disk, as ratios
	@scripts/need /usr/lib/postgresql/15/bin/postgres
	@$(CARGO) run --release -q -p orrery-bench -- store

.PHONY: bench-scheduler
bench-scheduler: ## The scheduler beside a lock row in PostgreSQL, APScheduler, celery beat, pg_cron, croner and croniter, as ratios
	@scripts/need /usr/lib/postgresql/15/bin/postgres /usr/lib/postgresql/15/lib/pg_cron.so python3
	@$(CARGO) build --release -p orrery
	@ORRERY_BIN=$(RELEASE)/orrery $(CARGO) run --release -q -p orrery-bench -- scheduler

.PHONY: nightly
nightly: ## Long runs: crash rounds, seeded disk faults, a million compared commands
	@scripts/nightly

.PHONY: image
image: ## Write target/orrery-image.tar, an OCI archive, without a container engine
	@scripts/image $(IMAGE) $(BIN)/orrery-image.tar

.PHONY: kind-up
kind-up: image ## Create a kind cluster, load the image, install the charts, apply examples/
	@scripts/kind-up $(IMAGE) $(BIN)/orrery-image.tar

.PHONY: kind-down
kind-down: ## Delete the kind cluster
	@command -v kind >/dev/null || { echo "kind is not installed; see docs/install.md" >&2; exit 1; }
	@kind delete cluster --name orrery

.PHONY: e2e
e2e: ## The product on two real nodes and as processes, or in the cluster of KUBECONFIG
	@scripts/e2e
