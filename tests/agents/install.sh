#!/usr/bin/env bash
# Installs agent programs, once, and prints the folder that they are in: install.sh [codex|claude-code|all]
# codex alone (0.4 GB, from npm) is what the end-to-end tests and the demo run; all are 2 GB, from npm and PyPI.
# shellcheck source=../cluster/lib.sh
. "$(dirname "$0")/../cluster/lib.sh"
AGENTS="$(cd "$(dirname "$0")" && pwd)"
AIDER=0.86.2

aider() {
  python3 -m venv "$at/aider"
  "$at/aider/bin/pip" install --quiet --disable-pip-version-check "aider-chat==$AIDER"
}

what="${1:-all}"
at="$CACHE/agents/$what-$(cat "$AGENTS/package.json" "$0" | sha256sum | cut -c1-16)"
if [[ ! -e "$at" ]]; then
  command -v npm >/dev/null || die "agent programs come from npm: install Node.js 20 or newer"
  mkdir -p "$CACHE/agents"
  exec 9>"$CACHE/agents/.lock"
  flock 9
fi
if [[ ! -e "$at" ]]; then
  rm -rf "$at.partial" "$CACHE/agents/$what"-*
  mkdir -p "$at.partial"
  cp "$AGENTS/package.json" "$at.partial/"
  packages=()
  if [[ "$what" != all ]]; then
    # Alone, in the version that package.json pins.
    packages=("$(sed -n "s|.*\"\(@[a-z-]*/$what\)\": \"\(.*\)\".*|\1@\2|p" "$AGENTS/package.json")")
    [[ -n "${packages[0]}" ]] || die "no such program: $what"
    echo '{ "private": true }' >"$at.partial/package.json"
  fi
  step "agent programs ($what) from npm" npm install --silent --no-audit --no-fund --prefix "$at.partial" "${packages[@]}" >&2
  mv "$at.partial" "$at"
  if [[ "$what" == all ]]; then
    # Where it stays: a virtual environment does not move.
    step "aider from PyPI" aider >&2 || { rm -rf "$at"; die "aider cannot be installed"; }
  fi
fi
echo "$at"
