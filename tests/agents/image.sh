#!/usr/bin/env bash
# Makes the image of one of examples/executors where no registry is at hand: Debian with git, Node.js of this machine, the program from
# npm and tell.mjs. Once; prints the path of the archive and the image's name: image.sh codex|claude-code
# shellcheck source=../cluster/lib.sh
. "$(dirname "$0")/../cluster/lib.sh"
AGENTS="$(cd "$(dirname "$0")" && pwd)"
ROOT="$(dirname "$(dirname "$AGENTS")")"

program="${1:-codex}"
case "$program" in
  codex) scope=@openai command=codex target=@openai/codex/bin/codex.js ;;
  claude-code) scope=@anthropic-ai command=claude target=@anthropic-ai/claude-code/bin/claude.exe ;;
  *) die "usage: image.sh codex|claude-code" ;;
esac
base="$("$ROOT/images/base.sh")"
agents="$("$AGENTS/install.sh" "$program")"
node="$(command -v node)" || die "the agent program needs Node.js 20 or newer"
tell="$ROOT/examples/executors/tell.mjs"
key="$( (echo "$base $agents $("$node" --version)"; cat "$0" "$tell") | sha256sum | cut -c1-16)"
archive="$CACHE/agents/image-$program-$key.tar"
name="docker.io/library/agent-$program:$key"

pack() {
  local work layer library
  work="$(mktemp -d)"
  layer="$work/layer"
  mkdir -p "$layer/usr/local/bin" "$layer/usr/local/lib/node_modules"
  cp "$(realpath "$node")" "$layer/usr/local/bin/node"
  # What it needs besides what a Debian has in any case.
  for library in $(ldd "$node" | sed -n 's/.*=> \(.*libstdc++[^ ]*\|.*libatomic[^ ]*\) .*/\1/p'); do
    install -D -m 0644 "$(realpath "$library")" "$layer/usr/lib/$(basename "$(dirname "$library")")/$(basename "$library")"
  done
  cp -r "$agents/node_modules/$scope" "$layer/usr/local/lib/node_modules/"
  ln -s "../lib/node_modules/$target" "$layer/usr/local/bin/$command"
  install -m 0755 "$tell" "$layer/usr/local/bin/tell.mjs"
  tar -C "$layer" --owner=0 --group=0 --sort=name --mtime=@0 -cf "$layer.tar" usr
  # The base is an archive of one layer.
  mkdir "$work/base"
  tar -C "$work/base" -xf "$base"
  IMAGE_CONFIG='"Env":["PATH=/usr/local/bin:/usr/bin:/bin"]' \
    image_archive "$archive" "$name" "" "$work"/base/*.tar "$layer.tar"
  rm -rf "$work"
}

if [[ ! -e "$archive" ]]; then
  rm -f "$CACHE/agents/image-$program"-*.tar
  step "image with $program, once" pack >&2
fi
echo "$archive $name"
