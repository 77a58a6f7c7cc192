#!/usr/bin/env bash
# Prints the path of a cluster's administrator kubeconfig: kubeconfig.sh [NAME].
. "$(dirname "$0")/lib.sh"
(($# <= 1)) || die "usage: kubeconfig.sh [NAME]"
use_cluster "${1:-jct}"
require_up
echo "$KUBECONFIG_FILE"
