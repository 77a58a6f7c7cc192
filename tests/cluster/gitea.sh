#!/usr/bin/env bash
# Runs a real forge where the pods of a cluster reach it:
#   gitea.sh NAME start FOLDER | stop
# FOLDER then has ca.crt, token and token-of (tests/gitea.sh); start prints the address.
. "$(dirname "$0")/lib.sh"
(($# >= 2)) || die "usage: gitea.sh NAME start FOLDER | stop"
use_cluster "$1"
[[ "$NAME" != existing ]] || die "CLUSTER=existing has no place for a forge: its pods could not reach it"
require_up
! is_api_only || die "cluster $NAME is only an API server: it has no pods to serve"
address="$NODE_ADDRESS:3000"

case "$2" in
  start)
    folder="$(realpath -m "${3:?gitea.sh NAME start FOLDER}")"
    become_root "$@"
    "$0" "$NAME" stop
    rm -rf "$folder"
    start_daemon gitea "$HERE/../gitea.sh" "$folder" "$address"
    wait_for gitea 90 test -e "$folder/ready"
    echo "https://$address"
    ;;
  stop)
    become_root "$@"
    if pid="$(daemon_pid gitea)"; then
      kill "$pid"
      while daemon_pid gitea >/dev/null; do sleep 0.05; done
    fi
    rm -f "$STATE/pids/gitea"
    ;;
  *) die "no such command: $2 (start, stop)" ;;
esac
