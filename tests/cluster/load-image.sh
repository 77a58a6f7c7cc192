#!/usr/bin/env bash
# Puts images into a cluster: load-image.sh NAME DOCKER-ARCHIVE…
. "$(dirname "$0")/lib.sh"
(($# >= 2)) || die "usage: load-image.sh NAME DOCKER-ARCHIVE…"
use_cluster "$1"
require_up

if [[ "$NAME" == existing ]]; then
  context="$(kc config current-context)"
  for archive in "${@:2}"; do
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
for archive in "${@:2}"; do
  ctr --address "$STATE/containerd.sock" --namespace k8s.io images import "$archive"
done
