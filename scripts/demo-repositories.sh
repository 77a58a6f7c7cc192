#!/usr/bin/env bash
# Makes the bare repositories that the demo serves: demo-repositories.sh DIR
#   DIR/jct/jct.git             the history of this checkout
#   DIR/burntsushi/ripgrep.git  a public project, rebuilt from its releases in cargo's registry: a commit and a tag each
# shellcheck source=../tests/cluster/lib.sh
. "$(dirname "$0")/../tests/cluster/lib.sh"
ROOT="$(cd "$(dirname "$0")/.." && pwd)"

RELEASES=("12.1.1 2020-05-29" "13.0.0 2021-06-12" "14.1.1 2024-09-09")

main() {
  (($# == 1)) || die "usage: demo-repositories.sh DIR"
  mkdir -p "$1/jct" "$1/burntsushi"
  own_history "$1/jct/jct.git"
  [[ -e "$1/burntsushi/ripgrep.git" ]] || releases ripgrep "$1/burntsushi/ripgrep.git"
}

own_history() {
  local bare="$1"
  if ! git -C "$ROOT" rev-parse --quiet --verify HEAD >/dev/null 2>&1; then
    echo "  This checkout has no commits: it is not served, and the Task about it is left out."
    rm -rf "$bare"
    return
  fi
  if [[ "$(git -C "$ROOT" rev-parse --is-shallow-repository)" == true ]]; then
    echo "  This checkout is shallow: only its last $(git -C "$ROOT" rev-list --count HEAD) commits are served."
  fi
  [[ -e "$bare" ]] || git init --quiet --bare --initial-branch=main "$bare"
  git -C "$bare" fetch --quiet --force --update-shallow "$ROOT" +HEAD:refs/heads/main
}

# releases CRATE BARE
releases() {
  local crate="$1" bare="$2" work release version date source commit
  work="$(mktemp -d)"
  git init --quiet --initial-branch=master "$work/tree"
  for release in "${RELEASES[@]}"; do
    read -r version date <<<"$release"
    source="$(downloaded "$crate" "$version")"
    find "$work/tree" -mindepth 1 -maxdepth 1 -not -name .git -exec rm -rf {} +
    cp -R "$source/." "$work/tree"
    commit="$(grep -o '[0-9a-f]\{40\}' "$work/tree/.cargo_vcs_info.json" || true)"
    # As the author wrote it, without what cargo added.
    mv "$work/tree/Cargo.toml.orig" "$work/tree/Cargo.toml"
    rm -f "$work/tree/.cargo_vcs_info.json" "$work/tree/.cargo-ok"
    git -C "$work/tree" add --all --force
    GIT_AUTHOR_DATE="$date 12:00:00 +0000" GIT_COMMITTER_DATE="$date 12:00:00 +0000" \
      git -C "$work/tree" -c user.name="JCT demo" -c user.email=demo@jct.invalid -c commit.gpgsign=false \
      -c core.hooksPath=/dev/null commit --quiet --message "$crate $version" \
      --message "Import of the published release.${commit:+ Upstream commit $commit.}"
    git -C "$work/tree" -c tag.gpgsign=false tag "$version"
  done
  git clone --quiet --bare "$work/tree" "$work/bare"
  git -C "$work/bare" remote remove origin
  mv "$work/bare" "$bare"
  rm -rf "$work"
}

# downloaded CRATE VERSION: the folder where cargo unpacked it. `cargo info` fetches the crate and nothing else.
downloaded() {
  local folder
  (cd / && cargo info --quiet "$1@$2" >/dev/null) || die "cargo could not download $1 $2"
  for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$1-$2"; do
    if [[ -e "$folder/Cargo.toml.orig" ]]; then echo "$folder"; return; fi
  done
  die "cargo did not keep the source of $1 $2"
}

main "$@"
