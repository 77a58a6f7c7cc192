#!/usr/bin/env bash
# Takes the console's htmx from its npm package, if that is the one whose digest is here: scripts/vendor-htmx.sh [--check]
# With --check nothing is written: whether the file that is there is the package's.
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=2.0.11
# `dist.integrity` of the registry, of the whole package.
INTEGRITY=sha512-Thx/WtpeOQqSrqBCw/A1cwGJGg4UrVa3+sW0GmrM3p4gJgO89ecH4qtbnyzDDWFvBTqjnIMCgELTNt636dtamA==
TARGET=src/console/assets/htmx.min.js

aside=$(mktemp -d)
trap 'rm -rf "$aside"' EXIT
curl --fail --silent --show-error --location --proto '=https' --output "$aside/htmx.tgz" \
  "https://registry.npmjs.org/htmx.org/-/htmx.org-$VERSION.tgz"
found="sha512-$(openssl dgst -sha512 -binary "$aside/htmx.tgz" | base64 --wrap=0)"
if [[ "$found" != "$INTEGRITY" ]]; then
  echo "htmx.org $VERSION is $found, not $INTEGRITY: nothing was taken" >&2
  exit 1
fi
tar --extract --gzip --file "$aside/htmx.tgz" --directory "$aside" package/dist/htmx.min.js package/LICENSE
if [[ "${1:-}" == --check ]]; then
  cmp "$aside/package/dist/htmx.min.js" "$TARGET"
  exit
fi
cp "$aside/package/dist/htmx.min.js" "$TARGET"
cp "$aside/package/LICENSE" src/console/assets/htmx.LICENSE
echo "htmx.org $VERSION is in $TARGET"
