#!/usr/bin/env bash
# Everything that reads the code without running it: format, clippy, documentation, dependencies, the chart.
# shellcheck source=../tests/cluster/lib.sh
. "$(dirname "$0")/../tests/cluster/lib.sh"
cd "$(dirname "$0")/.." || exit
DENY_VERSION=0.20.2

main() {
  tests/cluster/prerequisites.sh rust
  cargo fmt --all --check
  cargo clippy --quiet --workspace --all-targets --locked -- --deny warnings
  # It is in no other target's name: `--all-targets` leaves it out, even beside `--test`.
  cargo clippy --quiet --workspace --test e2e --locked -- --deny warnings
  RUSTDOCFLAGS="--deny warnings" cargo doc --quiet --workspace --no-deps --document-private-items --locked
  "$(cargo_deny)" --log-level error check bans licenses sources
  tests/cluster/tools.sh helm >/dev/null
  use_cluster lint
  "$TOOLS/helm" lint --quiet --strict charts/jct
  scripts/check-chart-names.sh "$TOOLS/helm"
  echo "lint: clean"
}

# Built once for each version, into the cache: the workspace's target and flags are not for tools.
cargo_deny() {
  local root="$CACHE/cargo-deny-$DENY_VERSION"
  if [[ ! -x "$root/bin/cargo-deny" ]]; then
    echo "  building cargo-deny $DENY_VERSION, once" >&2
    (cd / && cargo install --quiet --locked --root "$root" --version "$DENY_VERSION" cargo-deny >&2)
  fi
  echo "$root/bin/cargo-deny"
}

main "$@"
