#!/usr/bin/env bash
# Builds the pinned programs of the cluster into the cache, each once: tools.sh [TOOL…] (all by default).
. "$(dirname "$0")/lib.sh"

ALL=(kubectl etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy coredns helm git-server pause.tar)

build() {
  local tool="$1" package="k8s.io/kubernetes/cmd/$1" flags="-s -w" module
  case "$tool" in
    pause.tar) build_pause; return ;;
    coredns) package=./coredns ;;
    etcd) package=go.etcd.io/etcd/server/v3 ;;
    git-server) package=./gitserver ;;
    helm)
      package=helm.sh/helm/v3/cmd/helm
      flags+=" -X helm.sh/helm/v3/internal/version.version=$HELM_VERSION"
      # Which Kubernetes `helm template` and `helm lint` take themselves to be at.
      for module in pkg/lint/rules pkg/chartutil; do
        flags+=" -X helm.sh/helm/v3/$module.k8sVersionMajor=1 -X helm.sh/helm/v3/$module.k8sVersionMinor=35"
      done
      ;;
    *)
      for module in component-base/version client-go/pkg/version; do
        flags+=" -X k8s.io/$module.gitVersion=$KUBE_VERSION -X k8s.io/$module.gitTreeState=clean"
        flags+=" -X k8s.io/$module.gitMajor=1 -X k8s.io/$module.gitMinor=35"
      done
      ;;
  esac
  (cd "$HERE" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$flags" -o "$TOOLS/$tool.partial" "$package")
  mv "$TOOLS/$tool.partial" "$TOOLS/$tool"
}

build_pause() {
  local work
  work="$(mktemp -d)"
  cc -static -Os -s -o "$work/pause" "$HERE/pause.c"
  tar -C "$work" --owner=0 --group=0 --mtime=@0 -cf "$work/layer" pause
  image_archive "$TOOLS/pause.tar" jct-pause:1 /pause "$work/layer"
  rm -rf "$work"
}

(($#)) || set -- "${ALL[@]}"
missing=() count=0
for tool in "$@"; do [[ -e "$TOOLS/$tool" ]] || missing+=("$tool"); done
((${#missing[@]})) || exit 0

mkdir -p "$TOOLS"
exec 9>"$TOOLS/.lock"
flock 9
echo "Building the cluster's programs, once (about 6 minutes in all):"
for tool in "${missing[@]}"; do
  [[ -e "$TOOLS/$tool" ]] || step "$tool ($((++count))/${#missing[@]})" build "$tool"
done
