#!/usr/bin/env bash
# Builds the pinned forge into the cache, once, with what it reads besides; prints where: build.sh
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
key="$(cat "$here"/go.{mod,sum} "$here/build.sh" | sha256sum | cut -c1-16)"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/jct/gitea/$key"
if [[ ! -e "$folder/gitea" ]]; then
  mkdir -p "$folder"
  exec 9>"$folder/.lock"
  flock 9
fi
if [[ ! -e "$folder/gitea" ]]; then
  echo "Building Gitea, once (about 4 minutes)" >&2
  cd "$here"
  source="$(go list -m -f '{{.Dir}}' code.gitea.io/gitea)"
  if [[ -z "$source" ]]; then
    go mod download code.gitea.io/gitea
    source="$(go list -m -f '{{.Dir}}' code.gitea.io/gitea)"
  fi
  CGO_ENABLED=1 go build -trimpath -buildvcs=false -ldflags "-s -w" -tags "sqlite sqlite_unlock_notify" \
    -o "$folder/gitea.partial" code.gitea.io/gitea
  # Without its bundle of assets it reads these; the module cache may be cleaned.
  rm -rf "$folder/static"
  mkdir "$folder/static"
  cp -r "$source"/{templates,options,public} "$folder/static/"
  chmod -R u+w "$folder/static"
  mv "$folder/gitea.partial" "$folder/gitea"
fi
echo "$folder"
