#!/usr/bin/env bash
# Packs static binaries as the images jct-operator:TAG and jct-worker:TAG: build.sh BINARY OUTDIR TAG
# takes BINARY, the program jct, and jct-worker and jct-relay, which are beside it, and writes OUTDIR/operator.tar and OUTDIR/worker.tar (docker-archive), and nothing when they are current.
. "$(dirname "$0")/../tests/cluster/lib.sh"
IMAGES="$(cd "$(dirname "$0")" && pwd)"

main() {
  (($# == 3)) || die "usage: build.sh BINARY OUTDIR TAG"
  local binary="$1" out="$2" tag="$3" worker relay program work base image key
  worker="$(dirname "$binary")/jct-worker"
  relay="$(dirname "$binary")/jct-relay"
  for program in "$binary" "$worker" "$relay"; do
    [[ -f "$program" ]] || die "no such binary: $program"
    ! ldd "$program" >/dev/null 2>&1 || [[ "$(ldd "$program")" == *"statically linked"* ]] ||
      die "$program is not static: build it with the target and flags of .cargo/config.toml"
  done
  key="$tag $(cat "$binary" "$worker" "$relay" "$IMAGES"/*.Containerfile "$IMAGES"/*.sh | sha256sum)"
  if [[ -e "$out/operator.tar" && -e "$out/worker.tar" && "$(cat "$out/.key" 2>/dev/null)" == "$key" ]]; then return; fi

  "$IMAGES/../tests/cluster/prerequisites.sh" images
  base="$("$IMAGES/base.sh")"
  become_root "$@"
  mkdir -p "$out"
  exec 9>"$base.lock"
  flock 9
  work="$(mktemp -d)"
  trap 'rm -rf "'"$work"'"' EXIT
  mkdir "$work/context"
  strip -o "$work/context/jct" "$binary"
  strip -o "$work/context/jct-worker" "$worker"
  strip -o "$work/context/jct-relay" "$relay"
  chmod 0755 "$work/context"/*
  for image in operator worker; do step "image jct-$image:$tag" build "$image"; done
  printf '%s' "$key" >"$out/.key"
  give_to_caller "$out"
}

# No engine and no daemon. The storage is kept with the base it holds; what is built there is not.
build() {
  local image="$1" name="docker.io/library/jct-$1:$tag" driver=overlay buildah
  [[ "$(stat -f -c %T "$CACHE")" != overlayfs ]] || driver=vfs
  buildah=(buildah --root "${base%.tar}.storage" --runroot "$work/run" --storage-driver "$driver")
  "${buildah[@]}" bud --quiet --isolation chroot --layers=false --build-arg "BASE=docker-archive:$base" \
    --file "$IMAGES/$image.Containerfile" --tag "$name" "$work/context" >/dev/null
  rm -f "$out/$image.tar"
  "${buildah[@]}" push --quiet "$name" "docker-archive:$out/$image.tar:$name"
  "${buildah[@]}" rm --all >/dev/null
  "${buildah[@]}" rmi "$name" >/dev/null
}

main "$@"
