# `make` lists the targets. CLUSTER names the test cluster (several can stand side by side); CLUSTER=existing is the
# one of your KUBECONFIG, which is neither started nor stopped.
CLUSTER ?= jct
# The version that the chart asks for when nobody names one.
TAG ?= $(shell sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\}/\1/p' charts/jct/Chart.yaml)
PREFIX ?= $(HOME)/.local

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BINARY := $(TARGET_DIR)/x86_64-unknown-linux-gnu/release/jct
PLUGIN := $(dir $(BINARY))kubectl-jct
IMAGES := $(TARGET_DIR)/images

##@ Try it

.PHONY: demo
demo: ## Show JCT at work on a real cluster, which is started if there is none (CLUSTER=jct)
	@CLUSTER=$(CLUSTER) scripts/demo.sh

##@ Develop

.PHONY: test
test: ## Check and test everything, on a real cluster and real databases too
	@scripts/test.sh

.PHONY: test-agents
test-agents: ## Run five agent programs (2 GB, from npm and PyPI, once) by jct run, with a scripted model
	@agents="$$(tests/agents/install.sh all | tail -n 1)"; JCT_AGENTS="$$agents" \
	  cargo test --locked --test commands agents:: -- --ignored --nocapture --test-threads=1

.PHONY: lint
lint: ## Check format, clippy, documentation, dependencies and the chart
	@scripts/lint.sh

.PHONY: bench
bench: ## Measure; prints ratios and rates, asserts nothing
	@cargo bench --locked

.PHONY: generate
generate: ## Write the files that are generated: custom resource definitions, new migrations
	@scripts/generate.sh

##@ Test cluster

.PHONY: cluster-up
cluster-up: ## Start a real single-node Kubernetes on this machine (CLUSTER=jct)
	@tests/cluster/up.sh $(CLUSTER)

.PHONY: cluster-down
cluster-down: ## Take the cluster down and leave nothing of it behind
	@tests/cluster/down.sh $(CLUSTER)

.PHONY: cluster-status
cluster-status: ## Show what of the cluster is running
	@tests/cluster/status.sh $(CLUSTER)

.PHONY: cluster-smoke
cluster-smoke: cluster-up ## Check that pods, volumes, Services and DNS work in the cluster
	@tests/cluster/smoke.sh $(CLUSTER)

##@ Build

.PHONY: images
images: ## Pack the operator and the worker as images (TAG: the chart's version): target/images/*.tar
	@tests/cluster/prerequisites.sh rust
	@cargo build --release
	@images/build.sh $(BINARY) $(IMAGES) $(TAG)

.PHONY: push
push: ## Push both images: make push REGISTRY=registry.example/team (SKOPEO_FLAGS: more for `skopeo copy`)
	@[[ -n "$(REGISTRY)" ]] || { echo "where to? make push REGISTRY=registry.example/team" >&2; exit 2; }
	@$(MAKE) --no-print-directory images TAG=$(TAG)
	@images/push.sh $(IMAGES) $(REGISTRY) $(SKOPEO_FLAGS)

.PHONY: krew
krew: ## Pack kubectl-jct for krew: target/krew (KREW_URL: where the archive will be)
	@tests/cluster/prerequisites.sh rust
	@cargo build --release --package jct-cli
	@scripts/krew.sh $(PLUGIN) $(TARGET_DIR)/krew $(TAG) $(KREW_URL)

.PHONY: install
install: ## Install the commands jct and kubectl-jct into PREFIX/bin, with manual page and completion (PREFIX=$$HOME/.local)
	@tests/cluster/prerequisites.sh rust
	@cargo build --release
	@cargo build --release --package jct-cli
	@install -D -m 0755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/jct
	@install -D -m 0755 $(PLUGIN) $(DESTDIR)$(PREFIX)/bin/kubectl-jct
	@scripts/completion.sh $(PLUGIN) $(DESTDIR)$(PREFIX)
	@printf '%s\n' "$(DESTDIR)$(PREFIX)/bin/jct" "$(DESTDIR)$(PREFIX)/bin/kubectl-jct"
	@[[ ":$$PATH:" == *":$(PREFIX)/bin:"* ]] || echo "It is not on your PATH yet: export PATH=\"$(PREFIX)/bin:\$$PATH\""

.PHONY: clean
clean: ## Take down all clusters, remove all build output; caches stay
	@tests/cluster/down.sh --all
	@rm -rf $(TARGET_DIR)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
