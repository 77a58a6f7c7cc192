#!/usr/bin/env bash
# Runs a command in a cluster's network namespace, where pods and Services answer: exec.sh NAME COMMAND…
. "$(dirname "$0")/lib.sh"
(($# >= 2)) || die "usage: exec.sh NAME COMMAND…"
use_cluster "$1"
require_up
if [[ "$NAME" != existing ]] && ! is_api_only; then become_root "$@"; fi
shift
in_netns "$@"
