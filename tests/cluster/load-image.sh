#!/usr/bin/env bash
# Puts images into a cluster: load-image.sh NAME [--missing] DOCKER-ARCHIVE…
# With --missing only those whose names are not there: for names that tell what is in them.
. "$(dirname "$0")/lib.sh"
(($# >= 2)) || die "usage: load-image.sh NAME [--missing] DOCKER-ARCHIVE…"
use_cluster "$1"
require_up
missing=
archives=("${@:2}")
if [[ "$2" == --missing ]]; then missing=yes archives=("${@:3}"); fi

if [[ "$NAME" == existing ]]; then
  context="$(kc config current-context)"
  for archive in "${archives[@]}"; do
    case "$context" in
      kind-*) kind load image-archive "$archive" --name "${context#kind-}" ;;
      k3d-*) k3d image import "$archive" --cluster "${context#k3d-}" ;;
      minikube*) minikube image load "$archive" --profile "$context" ;;
      *) die "no way known to put images into the cluster of context $context: push them to the registry it pulls from" ;;
    esac
  done
  exit
fi

! is_api_only || die "cluster $NAME is only an API server: it runs no images"
become_root "$@"
for archive in "${archives[@]}"; do
  if [[ -n "$missing" ]]; then
    name="$(tar -xOf "$archive" ./manifest.json | sed 's/.*"RepoTags":\["\([^"]*\)".*/\1/')"
    [[ -z "$(ctr --address "$STATE/containerd.sock" --namespace k8s.io images list --quiet "name==$name")" ]] || continue
  fi
  ctr --address "$STATE/containerd.sock" --namespace k8s.io images import "$archive"
done
