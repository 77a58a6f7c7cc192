#!/usr/bin/env bash
# Every check and every test, from a bare machine: installs what they need, keeps what is slow.
# shellcheck source=../tests/cluster/lib.sh
. "$(dirname "$0")/../tests/cluster/lib.sh"
cd "$(dirname "$0")/.." || exit
BEGAN=${EPOCHREALTIME/[.,]/}

chapter() { printf '\n== %s (%s)\n' "$1" "$(elapsed "$BEGAN")"; }

chapter "Prerequisites"
for set in cluster images push registry promtool postgres rust python lua browser gitea; do tests/cluster/prerequisites.sh "$set"; done
chapter "Lint"
scripts/lint.sh
chapter "Unit, property, snapshot, scripted-API, store and worker tests"
cargo test --workspace --locked --no-fail-fast
chapter "End-to-end tests on a real cluster"
tests/e2e.sh
chapter "All passed after $(elapsed "$BEGAN")"
