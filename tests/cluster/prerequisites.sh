#!/usr/bin/env bash
# Installs what is missing of the named sets of Debian packages: prerequisites.sh [cluster|images|push|registry|promtool|postgres|rust|python|lua|browser|gitea]…
# A command that is already there, from whatever package, is left alone.
. "$(dirname "$0")/lib.sh"

missing=()
# need PACKAGE COMMAND-OR-FILE…
need() {
  local package="$1" item
  shift
  for item in "$@"; do
    if [[ "$item" == /* ]]; then [[ -e "$item" ]]; else command -v "$item" >/dev/null; fi && continue
    missing+=("$package")
    return
  done
}

# What the tests verify our signatures with that is not ours, in an environment of its own.
python_environment() {
  local root="${CARGO_TARGET_DIR:-$HERE/../../target}/python" wanted="$HERE/../requirements.txt"
  cmp --silent "$wanted" "$root/requirements.txt" && return
  echo "Preparing $root"
  rm -rf "$root"
  python3 -m venv "$root"
  "$root/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted" ||
    die "cannot install the Python packages of tests/requirements.txt: is a package index within reach?"
  cp "$wanted" "$root/requirements.txt"
  give_to_caller "$root"
}

# What the tests look at pages with, from its npm package, if that is the one whose digest is here.
axe() {
  local root="${CARGO_TARGET_DIR:-$HERE/../../target}/axe" version=4.14.1
  local integrity=sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==
  [[ -e "$root/$version.js" ]] && return
  echo "Preparing $root"
  mkdir -p "$root"
  curl --fail --silent --show-error --location --proto '=https' --output "$root/package.tgz" \
    "https://registry.npmjs.org/axe-core/-/axe-core-$version.tgz" || die "cannot fetch axe-core: is the npm registry within reach?"
  [[ "sha512-$(openssl dgst -sha512 -binary "$root/package.tgz" | base64 --wrap=0)" == "$integrity" ]] ||
    die "axe-core $version is not the package whose digest is known"
  tar --extract --gzip --file "$root/package.tgz" --directory "$root" --strip-components=1 package/axe.min.js
  rm "$root/package.tgz"
  mv "$root/axe.min.js" "$root/$version.js"
  give_to_caller "$root"
}

# at_least COMMAND WANTED FOUND HOW
at_least() {
  [[ -n "$3" && "$(printf '%s\n%s\n' "$2" "$3" | sort -V | head -n 1)" == "$2" ]] ||
    die "needs $1 $2 or newer, found ${3:-none}: $4"
}

(($#)) || set -- cluster images
for set in "$@"; do
  case "$set" in
    cluster)
      need containerd containerd ctr containerd-shim-runc-v2
      need runc runc
      need containernetworking-plugins /usr/lib/cni/bridge /usr/lib/cni/portmap
      need iptables iptables
      need iproute2 ip ss
      need conntrack conntrack
      need ebtables ebtables
      need ethtool ethtool
      need socat socat
      need openssl openssl
      need git git
      need util-linux nsenter setsid flock
      need gcc cc
      need libc6-dev /usr/include/stdlib.h
      dpkg-query --show busybox-static >/dev/null 2>&1 || missing+=(busybox-static) # another busybox may not be static
      ;;
    images)
      need buildah buildah
      need mmdebstrap mmdebstrap
      need binutils strip
      need ca-certificates /etc/ssl/certs/ca-certificates.crt
      ;;
    push) need skopeo skopeo /etc/containers/policy.json ;;
    registry) need docker-registry docker-registry ;;
    promtool) need prometheus promtool ;;
    postgres) need postgresql-15 /usr/lib/postgresql/15/bin/postgres ;;
    rust) need gcc cc ;;
    python)
      need python3 python3
      python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
      ;;
    lua) need lua5.4 lua5.4 ;;
    gitea)
      need gcc cc
      need git git
      need curl curl
      need openssl openssl
      need util-linux flock
      ;;
    browser)
      need chromium chromium
      need fonts-dejavu-core /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
      need curl curl
      need openssl openssl
      ;;
    *) die "no such set: $set (cluster, images, push, registry, promtool, postgres, rust, python, lua, browser, gitea)" ;;
  esac
done

if ((${#missing[@]})); then
  command -v apt-get >/dev/null || die "missing, and this is no Debian to install them on: ${missing[*]}"
  become_root "$@"
  echo "Installing ${missing[*]}"
  # Servers are started by our scripts alone, not by their packages.
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null
fi

for set in "$@"; do
  case "$set" in
    cluster)
      at_least go 1.25 "$(go env GOVERSION 2>/dev/null | sed 's/^go//; s/ .*//')" \
        "install it from the Go project's download page and put its bin folder on PATH (Debian 12's own is too old)"
      ;;
    python)
      at_least python3 3.9 "$(python3 -c 'import platform; print(platform.python_version())' 2>/dev/null)" "install a newer python3"
      python_environment
      ;;
    browser) axe ;;
    gitea)
      at_least go 1.25 "$(go env GOVERSION 2>/dev/null | sed 's/^go//; s/ .*//')" \
        "install it from the Go project's download page and put its bin folder on PATH (Debian 12's own is too old)"
      "$HERE/gitea/build.sh" >/dev/null
      ;;
    rust)
      at_least cargo 1.95 "$(cargo --version 2>/dev/null | cut -d' ' -f2)" "rustup toolchain install stable (or rustup update stable)"
      ;;
  esac
done
