#!/usr/bin/env bash
# Serves the bare repositories below a folder to the pods of a cluster, read-only:
#   git-server.sh NAME start DIR | stop | url
# A repository DIR/owner/name.git is URL/owner/name.git.
. "$(dirname "$0")/lib.sh"
(($# >= 2)) || die "usage: git-server.sh NAME start DIR | stop | url"
use_cluster "$1"
[[ "$NAME" != existing ]] || die "CLUSTER=existing has no place for a git server: its pods could not reach it"
require_up
! is_api_only || die "cluster $NAME is only an API server: it has no pods to serve"
address="$NODE_ADDRESS:8418"

case "$2" in
  start)
    directory="$(realpath -e "${3:?git-server.sh NAME start DIR}")" || die "no such folder: $3"
    become_root "$@"
    "$0" "$NAME" stop
    start_daemon git-server "$TOOLS/git-server" "$address" "$directory"
    wait_for git-server 10 in_netns bash -c "exec 3<>/dev/tcp/${address/://}"
    echo "http://$address"
    ;;
  stop)
    become_root "$@"
    if pid="$(daemon_pid git-server)"; then
      kill "$pid"
      while daemon_pid git-server >/dev/null; do sleep 0.05; done
    fi
    rm -f "$STATE/pids/git-server"
    ;;
  url) echo "http://$address" ;;
  *) die "no such command: $2 (start, stop, url)" ;;
esac
