#!/usr/bin/env bash
# Prints what a shell needs to talk to a cluster, with the pinned kubectl and helm: eval "$(env.sh [NAME])".
. "$(dirname "$0")/lib.sh"
(($# <= 1)) || die "usage: env.sh [NAME]"
use_cluster "${1:-jct}"
require_up
# shellcheck disable=SC2016 # $PATH is for the caller to expand
printf 'export KUBECONFIG=%q\nexport PATH=%q:"$PATH"\n' "$KUBECONFIG_FILE" "$TOOLS"
