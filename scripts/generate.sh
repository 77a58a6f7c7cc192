#!/usr/bin/env bash
# Writes the files that are generated from the code; tests/generated.rs holds them against it.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --bin jct
rm -f crds/*.yaml charts/jct/crds/*.yaml
# One file for each definition, named by group and plural.
"${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu/debug/jct" crds | awk '
  /^---$/ { if (file) close(file); document = ""; file = ""; }
  { document = document $0 "\n" }
  /^  name: / && !file { split($2, part, "."); file = "crds/" part[2] "." part[3] "_" part[1] ".yaml"; printf "%s", document > file; next }
  file { print > file }
'
cp crds/*.yaml charts/jct/crds/
# Migrations that are not there yet, for both dialects, from crates/store/migrations/source.
JCT_WRITE_MIGRATIONS=1 cargo test --quiet --package jct-store --lib migrations_are_what_their_source_makes > /dev/null
# The page of the command for people.
JCT_WRITE_DOCS=1 cargo test --quiet --package jct-cli --test page the_page_of_the_command_is_current > /dev/null
