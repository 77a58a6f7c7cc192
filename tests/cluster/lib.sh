# Shared by the scripts of the test cluster; sourced, never run.
# shellcheck shell=bash disable=SC2034,SC2153 # its variables are the other scripts'
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/jct"
CLUSTERS="$(realpath -m "${XDG_STATE_HOME:-$HOME/.local/state}/jct/cluster")"
PATH="$PATH:/usr/sbin:/sbin"
KUBE_VERSION=v1.35.4
HELM_VERSION=v3.20.2

# Names the programs that go.mod, go.sum, the sources here and their flags describe.
tools_key() { (cd "$HERE" && cat go.mod go.sum coredns/main.go gitserver/main.go pause.c tools.sh) | sha256sum | cut -c1-16; }
TOOLS="$CACHE/tools/$(tools_key)"

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# step TEXT COMMAND…: runs the command and prints one line with its seconds. `set -e` stays in force in the command.
step() {
  local text="$1" start=${EPOCHREALTIME/[.,]/}
  shift
  "$@"
  printf '  %-52s %6s\n' "$text" "$(elapsed "$start")"
}
elapsed() { local us=$((${EPOCHREALTIME/[.,]/} - $1)); printf '%d.%ds' $((us / 1000000)) $((us / 100000 % 10)); }

# The cluster's network namespace, cgroups and mounts are root's; the caller's folders stay the caller's.
become_root() {
  ((EUID == 0)) && return
  command -v sudo >/dev/null || die "needs root, and sudo is not installed: run it as root"
  exec sudo env HOME="$HOME" PATH="$PATH" XDG_CACHE_HOME="${XDG_CACHE_HOME:-$HOME/.cache}" \
    XDG_STATE_HOME="${XDG_STATE_HOME:-$HOME/.local/state}" "$0" "$@"
}
give_to_caller() { [[ -z "${SUDO_UID:-}" ]] || chown -R "$SUDO_UID:$SUDO_GID" "$@"; }

# use_cluster NAME: the variables that the rest of the scripts work with. The name `existing` stands for the cluster of
# the caller's KUBECONFIG, which these scripts neither start nor stop.
use_cluster() {
  [[ "$1" =~ ^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$ ]] || die "'$1' is no cluster name: use up to 30 of a-z, 0-9 and -"
  NAME="$1"
  STATE="$CLUSTERS/$NAME"
  NETNS="jct-$NAME"
  NETNS_FILE="/run/netns/$NETNS"
  CGROUP="jct-$NAME"
  KUBECONFIG_FILE="$STATE/kubeconfig"
  [[ "$NAME" == existing ]] && KUBECONFIG_FILE="${KUBECONFIG:-$HOME/.kube/config}"
  POD_SUBNET=10.244.0.0/24
  SERVICE_SUBNET=10.96.0.0/16
  DNS_ADDRESS=10.96.0.10
  if [[ -e "$STATE/index" ]]; then use_index "$(<"$STATE/index")"; fi
}
# Only these two addresses are seen outside the cluster's namespace; pods' and services' are the same in every cluster.
use_index() {
  INDEX="$1"
  LINK="jct-$INDEX"
  HOST_ADDRESS="10.213.$INDEX.1"
  NODE_ADDRESS="10.213.$INDEX.2"
}

is_api_only() { [[ "$(cat "$STATE/mode" 2>/dev/null)" == api-only ]]; }
require_up() { [[ "$NAME" == existing || -e "$KUBECONFIG_FILE" ]] || die "cluster $NAME is not up: make cluster-up CLUSTER=$NAME"; }
kc() { "$TOOLS/kubectl" --kubeconfig="$KUBECONFIG_FILE" "$@"; }

in_netns() {
  if [[ "$NAME" == existing ]] || is_api_only; then "$@"; else nsenter --net="$NETNS_FILE" "$@"; fi
}

# Daemons: a pid file holds the pid and its start time, so that a recycled pid is never taken for ours.

# The 22nd field; the second, the command in brackets, may hold blanks.
start_time() {
  local stat fields
  stat="$(cat "/proc/$1/stat" 2>/dev/null)" || return 1
  read -ra fields <<<"${stat##*) }"
  echo "${fields[19]}"
}

# daemon_pid NAME: prints the pid if that daemon is running.
daemon_pid() {
  local pid started
  read -r pid started 2>/dev/null <"$STATE/pids/$1" || return 1
  [[ -n "$started" && "$(start_time "$pid")" == "$started" ]] || return 1
  [[ "$(awk '/^State/{print $2}' "/proc/$pid/status" 2>/dev/null)" != Z ]] || return 1
  echo "$pid"
}

# start_daemon NAME COMMAND…: in the cluster's network namespace, unless it is running.
start_daemon() {
  local name="$1" enter=()
  shift
  daemon_pid "$name" >/dev/null && return
  is_api_only || enter=(nsenter --net="$NETNS_FILE")
  mkdir -p "$STATE/pids" "$STATE/logs"
  (cd / && exec setsid "${enter[@]}" "$@") </dev/null >>"$STATE/logs/$name.log" 2>&1 9>&- &
  echo "$! $(start_time $!)" >"$STATE/pids/$name"
}

# wait_for DAEMON SECONDS COMMAND…: until the command succeeds; fails with the daemon's log when it ends or time is up.
wait_for() {
  local daemon="$1" until=$((SECONDS + $2))
  shift 2
  until daemon_pid "$daemon" >/dev/null && "$@" >/dev/null 2>&1; do
    if ! daemon_pid "$daemon" >/dev/null || ((SECONDS >= until)); then
      tail -n 15 "$STATE/logs/$daemon.log" >&2
      die "$daemon is not ready; its log: $STATE/logs/$daemon.log"
    fi
    sleep 0.1
  done
}

# render FILE: a configuration with @NAME@ replaced by the variable of that name.
render() {
  local text name
  text="$(<"$HERE/config/$1")"
  for name in NAME STATE CGROUP HOST_ADDRESS NODE_ADDRESS POD_SUBNET DNS_ADDRESS; do text="${text//@$name@/${!name}}"; done
  printf '%s\n' "$text"
}

# image_archive FILE NAME ENTRYPOINT LAYER…: an image without a builder: layers, their configuration, a manifest.
# IMAGE_CONFIG is more of its configuration: members of the JSON object, such as '"Env":["A=1"]'.
image_archive() {
  local file="$1" name="$2" entrypoint="$3" work ids=() layers=() layer
  shift 3
  work="$(mktemp -d)"
  for layer in "$@"; do
    layers+=("\"$(sha256sum "$layer" | cut -d' ' -f1).tar\"")
    ids+=("\"sha256:${layers[-1]:1:64}\"")
    ln -s "$(realpath "$layer")" "$work/${layers[-1]//\"/}"
  done
  local IFS=,
  printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":[%s]%s},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$(dpkg --print-architecture)" "${entrypoint:+\"$entrypoint\"}" "${IMAGE_CONFIG:+,$IMAGE_CONFIG}" "${ids[*]}" >"$work/config.json"
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":[%s]}]' "$name" "${layers[*]}" >"$work/manifest.json"
  unset IFS
  tar -C "$work" --dereference -cf "$file.partial" .
  mv "$file.partial" "$file"
  rm -rf "$work"
}
