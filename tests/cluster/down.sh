#!/usr/bin/env bash
# Takes a cluster down, whatever state it is in, and removes all of it: down.sh [--all | NAME].
. "$(dirname "$0")/lib.sh"

main() {
  if [[ "${1:-}" == --all ]]; then
    (($# == 1)) || die "usage: down.sh [--all | NAME]"
    local state
    for state in "$CLUSTERS"/*/; do
      [[ ! -d "$state" ]] || "$0" "$(basename "$state")"
    done
    return
  fi
  local locked="" arguments=("$@")
  if [[ "${1:-}" == --locked ]]; then locked=yes; shift; fi
  (($# <= 1)) || die "usage: down.sh [--all | NAME]"
  use_cluster "${1:-jct}"
  [[ "$NAME" != existing ]] || die "CLUSTER=existing is not ours to take down"
  if [[ ! -e "$STATE" && ! -e "$NETNS_FILE" ]]; then echo "Cluster $NAME is down."; return; fi
  is_api_only || become_root "${arguments[@]}"
  if [[ -z "$locked" ]]; then
    mkdir -p "$CLUSTERS"
    exec 9>"$CLUSTERS/.$NAME.lock"
    flock 9
  fi
  end_processes
  unmount
  remove_cgroups
  remove_network
  remove_files
  [[ -n "$locked" ]] || echo "Cluster $NAME is down."
}

# Nothing of the cluster is kept, so nothing needs to end in order. What a dying process started meanwhile is found by
# the next round.
end_processes() {
  local pids _
  for _ in {1..100}; do
    pids="$(processes)"
    [[ -n "$pids" ]] || return 0
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null || true
    sleep 0.1
  done
  die "these processes do not end: ${pids//$'\n'/ }"
}

# The daemons by their pid files, and by the files of ours that they were started with; shims by our socket; whatever is
# in the network namespace (host-network pods too) or in the cgroups (pods).
processes() {
  local file cgroup
  {
    for file in "$STATE"/pids/*; do
      [[ ! -e "$file" ]] || daemon_pid "$(basename "$file")" || true
    done
    { grep -lzxF -e "$STATE/containerd.sock" -e "--data-dir=$STATE/etcd" -e "--audit-log-path=$STATE/audit.log" \
      /proc/[0-9]*/cmdline 2>/dev/null || true; } | cut -d/ -f3
    if ! is_api_only; then
      [[ ! -e "$NETNS_FILE" ]] || ip netns pids "$NETNS" 2>/dev/null || true
      cgroups | while read -r cgroup; do find "$cgroup" -name cgroup.procs -exec cat {} + 2>/dev/null || true; done
    fi
  } | sort -un | while read -r pid; do
    # The dead are gone for us, though nobody has reaped them yet. This script is not one of them (as when it was
    # started from within the namespace).
    [[ "$pid" == "$$" || "$(awk '/^State/{print $2}' "/proc/$pid/status" 2>/dev/null || echo X)" == [ZX]* ]] || echo "$pid"
  done
}

# Ours in the one hierarchy of version 2, or in each of version 1.
cgroups() { find /sys/fs/cgroup/ -mindepth 1 -maxdepth 2 -type d -name "$CGROUP"; }

mounts() { awk -v below="$STATE/" '{gsub(/\\040/, " ", $5)} index($5, below) == 1 {print $5}' /proc/self/mountinfo; }

unmount() {
  local path
  mounts | sort -r | while read -r path; do umount "$path" 2>/dev/null || umount --lazy "$path"; done
  [[ -z "$(mounts)" ]] || die "still mounted: $(mounts | head -n 3)"
}

remove_cgroups() {
  local cgroup _
  for _ in {1..50}; do
    cgroups | while read -r cgroup; do find "$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null || true; done
    [[ -n "$(cgroups)" ]] || return 0
    sleep 0.1
  done
  die "cgroups of $CGROUP are still in use"
}

# The veth pair ends with the namespace; pods' namespaces ended with their mounts.
remove_network() {
  if [[ -n "${LINK:-}" && -e "/sys/class/net/$LINK" ]]; then ip link delete "$LINK" || true; fi
  if [[ -e "$NETNS_FILE" ]]; then ip netns delete "$NETNS"; fi
}

remove_files() {
  local file
  for file in "$STATE"/containerd/state/io.containerd.runtime.v2.task/*/*/address; do
    [[ ! -e "$file" ]] || rm -f "$(sed 's#^unix://##' "$file")"
  done
  for file in "$STATE"/containerd/root/io.containerd.grpc.v1.cri/sandboxes/*; do
    rm -f /var/lib/cni/results/*-"$(basename "$file")"-*
  done
  find /var/log/containers -type l -lname "$STATE/*" -delete 2>/dev/null || true
  rm -rf --one-file-system "$STATE"
  [[ -n "$locked" ]] || rm -f "$CLUSTERS/.$NAME.lock"
}

main "$@"
