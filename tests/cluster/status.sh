#!/usr/bin/env bash
# Shows what of a cluster is running: status.sh [NAME]. Ends with 1 when it is not all up.
. "$(dirname "$0")/lib.sh"
(($# <= 1)) || die "usage: status.sh [NAME]"
use_cluster "${1:-jct}"

if [[ "$NAME" == existing ]]; then kc get nodes; exit; fi
if [[ ! -e "$STATE" ]]; then echo "Cluster $NAME is down."; exit 1; fi

daemons=(etcd apiserver)
is_api_only || daemons+=(containerd kubelet controller-manager scheduler proxy coredns)
[[ ! -e "$STATE/pids/git-server" ]] || daemons+=(git-server)
down=0
for daemon in "${daemons[@]}"; do
  if pid="$(daemon_pid "$daemon")"; then
    printf '  %-20s %7d  %4d MiB\n' "$daemon" "$pid" "$(awk '/^VmRSS/{print int($2 / 1024)}' "/proc/$pid/status")"
  else
    printf '  %-20s    down\n' "$daemon"
    down=1
  fi
done
((down)) || is_api_only || kc get nodes,persistentvolumeclaims,pods --all-namespaces
echo "KUBECONFIG=$KUBECONFIG_FILE"
exit "$down"
