#!/usr/bin/env bash
# Names that YAML reads as something else stay names in what the chart renders, and names that no Service can have are refused with the reason.
set -euo pipefail
cd "$(dirname "$0")/.." || exit
helm="${1:-helm}"
kube=1.30.0

fail() {
  echo "check-chart-names: $*" >&2
  exit 1
}

render() {
  "$helm" template "$@" --kube-version "$kube"
}

# Values that are names are on lines of their own, or in flow mappings; a text that YAML takes for another type is bare.
bare='(^|[ {,[])(name|namespace|serviceAccountName|claimName|secretName|priorityClassName|value|app\.kubernetes\.io/(name|instance)): (123|true|on|null|1e3|0x1f)([ ,}]|$)'
if ! printf 'metadata:\n  name: on\n' | grep -qE "$bare"; then
  fail "the check does not see a bare name"
fi
for name in 123 true on null 1e3 0x1f; do
  names=(--namespace "$name")
  for value in serviceAccount.name traces.existingClaim data.existingClaim priorityClassName; do
    names+=(--set-string "$value=$name")
  done
  for override in serviceAccount.name nameOverride fullnameOverride; do
    rendered="$(render "$name" charts/jct "${names[@]}" --set-string "$override=$name")"
    if grep -nE "$bare" <<<"$rendered"; then
      fail "$name as $override is rendered bare"
    fi
    if grep -nE '^  name: "?[0-9]' <<<"$rendered" | grep -v "\"$name\"$"; then
      fail "$name as $override makes names that begin with a digit"
    fi
  done
done
for dotted in "a.b charts/jct" "jct charts/jct --set fullnameOverride=a.b" "jct charts/jct --set nameOverride=a.b"; do
  # shellcheck disable=SC2086 # words
  said="$(render $dotted 2>&1)" && fail "$dotted is not refused"
  grep -q "a Service's name has no dots" <<<"$said" || fail "$dotted is refused without the reason: $said"
done
echo "check-chart-names: clean"
