#!/usr/bin/env bash
# completion.sh PROGRAM PREFIX: writes what bash, zsh, fish and kubectl need to complete it, and its manual page, below PREFIX.
set -euo pipefail
program="$1" prefix="$2"
put() {
  mkdir -p "$(dirname "$prefix/$2")"
  "$program" completion "$1" >"$prefix/$2"
}
put bash share/bash-completion/completions/kubectl-jct
put zsh share/zsh/site-functions/_kubectl-jct
put fish share/fish/vendor_completions.d/kubectl-jct.fish
put man share/man/man1/kubectl-jct.1
put kubectl bin/kubectl_complete-jct
chmod 0755 "$prefix/bin/kubectl_complete-jct"
