#!/usr/bin/env bash
# Shows JCT at work from end to end: a cluster, the operator installed by its chart, Tasks that run, are denied and fail,
# their traces and their record. Can be run again and again.
#   demo.sh           on the test cluster $CLUSTER (jct), which is brought up, or with CLUSTER=existing on KUBECONFIG's
#   demo.sh --undo    takes away what it made, but the test cluster itself
# With CLUSTER=existing the sources come from the chart's default place, or from $JCT_DEMO_SOURCE_URL_TEMPLATE.
# shellcheck source=../tests/cluster/lib.sh
. "$(dirname "$0")/../tests/cluster/lib.sh"

ROOT="$(cd "$(dirname "$0")/.." && pwd)"
TARGET="$(realpath -m "${CARGO_TARGET_DIR:-$ROOT/target}")"
BINARY="$TARGET/x86_64-unknown-linux-gnu/release/jct"
OUT="$TARGET/demo"
SYSTEM=jct-system
TENANT=demo
WAIT_SECONDS=300
BEGAN=${EPOCHREALTIME/[.,]/}

# What becomes of each example.
declare -A EXPECTED=(
  [analysis]=Completed [analysis-full]=Completed [analysis-jct]=Completed [aliases]=Completed
  [code-change]=Completed [docs]=Completed [ops]=Completed
)

main() {
  cd "$ROOT" || exit
  use_cluster "${CLUSTER:-jct}"
  case "$*" in
    "") ;;
    --undo) undo; return ;;
    *) die "usage: demo.sh [--undo]" ;;
  esac
  chapter "Binary"; binary
  chapter "Cluster"; cluster
  chapter "Images"; images
  chapter "Repositories"; repositories
  chapter "Operator, by Helm"; operator
  chapter "Tasks"; tasks
  chapter "What became of them"; outcome
  chapter "Work objects"; work_objects
  chapter "A denied Task"; denied
  chapter "The trace of one Task"; trace
  chapter "Its record"; record
  chapter "Done after $(elapsed "$BEGAN")"; further
}

chapter() { printf '\n== %s (%s)\n' "$1" "$(elapsed "$BEGAN")"; }
show() { printf '$ %s\n' "$*"; "$@"; }

binary() {
  tests/cluster/prerequisites.sh rust
  cargo build --release
  # Named by what is in it: a new binary is rolled out, an old one is left running.
  TAG="$(cat "$BINARY" "$(dirname "$BINARY")"/jct-{worker,relay} images/*.Containerfile images/*.sh | sha256sum | cut -c1-12)"
}

cluster() {
  tests/cluster/up.sh "$NAME"
  tests/cluster/tools.sh kubectl helm
  use_cluster "$NAME"
  export KUBECONFIG="$KUBECONFIG_FILE" PATH="$TOOLS:$PATH"
  if kubectl get namespace "$SYSTEM" >/dev/null 2>&1 && [[ -z "$(made_by_demo "$SYSTEM")" ]]; then
    die "namespace $SYSTEM is there, and not of the demo's making: the demo would change an installation in use"
  fi
}

made_by_demo() { kubectl get namespaces --selector=jct-demo=true --field-selector="metadata.name=$1" --output=name; }

images() {
  images/build.sh "$BINARY" "$OUT/images" "$TAG"
  step "loaded into the cluster" load
}

load() { tests/cluster/load-image.sh "$NAME" "$OUT/images/operator.tar" "$OUT/images/worker.tar" >/dev/null; }

repositories() {
  if [[ "$NAME" == existing ]]; then
    URL_TEMPLATE="${JCT_DEMO_SOURCE_URL_TEMPLATE:-}"
    echo "  Sources are fetched from ${URL_TEMPLATE:-the default place of the chart}."
    unset "EXPECTED[analysis-jct]"
    return
  fi
  tests/cluster/prerequisites.sh cluster
  step "made" scripts/demo-repositories.sh "$OUT/repositories"
  [[ -e "$OUT/repositories/jct/jct.git" ]] || unset "EXPECTED[analysis-jct]"
  URL_TEMPLATE="$(tests/cluster/git-server.sh "$NAME" start "$OUT/repositories")/{repo}.git"
  echo "  Served at $URL_TEMPLATE"
}

operator() {
  make_namespace "$SYSTEM"
  kubectl label namespace "$SYSTEM" --overwrite pod-security.kubernetes.io/enforce=restricted >/dev/null
  # Helm installs CRDs, but never upgrades them.
  if kubectl get customresourcedefinition tasks.jct.dev >/dev/null 2>&1; then
    kubectl apply --server-side --force-conflicts -f charts/jct/crds >/dev/null
  fi
  values >"$OUT/values.yaml"
  step "helm upgrade --install, until it is ready" install
}

make_namespace() {
  kubectl create namespace "$1" --dry-run=client --output=yaml | kubectl apply -f - >/dev/null
  kubectl label namespace "$1" --overwrite jct-demo=true >/dev/null
}

values() {
  cat <<END
image: { tag: "$TAG" }
workers:
  image: { tag: "$TAG" }
  networkPolicy: { ports: [443, 80, 9418, 8418] }
policy:
  allowedRepoPrefixes: [jct/, burntsushi/]
END
  # The demo's own server speaks git:// alone.
  [[ -z "$URL_TEMPLATE" ]] ||
    echo "source: { urlTemplate: \"$URL_TEMPLATE\", allowPlaintext: $([[ "$URL_TEMPLATE" == https://* ]] && echo false || echo true) }"
}

install() {
  if ! helm upgrade --install jct charts/jct --namespace "$SYSTEM" --values "$OUT/values.yaml" \
    --wait --timeout 3m >"$OUT/helm.log" 2>&1; then
    cat "$OUT/helm.log" >&2
    operator_state >&2
    die "the operator did not become ready"
  fi
}

operator_state() {
  kubectl --namespace "$SYSTEM" get pods,persistentvolumeclaims || true
  kubectl --namespace "$SYSTEM" get events --sort-by=.lastTimestamp | tail -n 10 || true
  kubectl --namespace "$SYSTEM" logs deployment/jct --tail=30 || true
}

# Fresh ones each time; the record keeps those of before.
tasks() {
  make_namespace "$TENANT"
  if [[ -n "$(kubectl --namespace "$TENANT" get tasks.jct.dev --output=name)" ]]; then
    step "those of an earlier run deleted" delete_tasks
  fi
  local name
  for name in $(names); do apply "examples/$name.yaml"; done
  follow
}

delete_tasks() { kubectl --namespace "$TENANT" delete tasks.jct.dev --all --timeout=60s >/dev/null; }
names() { printf '%s\n' "${!EXPECTED[@]}" | sort; }

# The webhook fails closed: right after a start its Service may need a moment.
apply() {
  local until=$((SECONDS + 30)) answer
  until answer="$(kubectl --namespace "$TENANT" apply -f "$1" 2>&1)"; do
    if [[ "$answer" != *"failed calling webhook"* ]] || ((SECONDS >= until)); then die "$answer"; fi
    sleep 0.5
  done
  echo "  $answer"
}

# Prints each change of a phase or a reason, until all have ended.
follow() {
  local -A seen=()
  local began=${EPOCHREALTIME/[.,]/} until=$((SECONDS + WAIT_SECONDS)) open name phase reason
  while true; do
    open=0
    while IFS=$'\t' read -r name phase reason; do
      if [[ "${seen[$name]:- }" != "$phase $reason" ]]; then
        printf '  %6s  %-14s %-10s %s\n' "$(elapsed "$began")" "$name" "${phase:--}" "$reason"
        seen[$name]="$phase $reason"
      fi
      [[ "$phase" =~ ^(Completed|Failed|Cancelled)$ ]] || open=$((open + 1))
    done < <(states)
    ((open)) || return 0
    if ((SECONDS >= until)); then
      kubectl --namespace "$SYSTEM" get jobs,pods >&2
      operator_state >&2
      die "$open Tasks have not ended within $WAIT_SECONDS seconds"
    fi
    sleep 0.5
  done
}

states() {
  kubectl --namespace "$TENANT" get tasks.jct.dev \
    --output=jsonpath='{range .items[*]}{.metadata.name}{"\t"}{.status.phase}{"\t"}{.status.reason}{"\n"}{end}'
}

outcome() {
  show kubectl --namespace "$TENANT" get tasks.jct.dev --output=wide
  local name phase reason wrong=0
  while IFS=$'\t' read -r name phase reason; do
    if [[ "${EXPECTED[$name]}" != "$phase" && "${EXPECTED[$name]}" != "$phase/$reason" ]]; then
      echo "$name should have been ${EXPECTED[$name]}: $(field "$name" .status.message)" >&2
      wrong=1
    fi
    if [[ "$reason" == Duplicate ]]; then
      echo "$name has an idempotency key that was recorded before: it did not run again."
    fi
  done < <(states)
  ((!wrong)) || die "not every Task ended as it should have"
}

field() { kubectl --namespace "$TENANT" get tasks.jct.dev "$1" --output=jsonpath="{$2}"; }

# A chain of them by hand; those of the Tasks are in the record.
work_objects() {
  local kinds=repos,issues,contextpackets,constraintsnapshots,doctrinerefs,runs,artifacts
  kinds="${kinds//,/.jct.dev,}.jct.dev"
  show kubectl --namespace "$TENANT" apply -f examples/cwom.yaml
  kubectl --namespace "$TENANT" wait --for=condition=Resolved --all --timeout=60s "$kinds" >/dev/null ||
    { operator_state >&2; die "the work objects were not all recorded"; }
  show kubectl --namespace "$TENANT" get cwom
  printf '\nThose that Task analysis has made:\n'
  kubectl --namespace "$TENANT" get tasks.jct.dev analysis \
    --output=go-template='{{range $name, $id := .status.cwom}}{{printf "  %-22s %s\n" $name $id}}{{end}}'
}

denied() {
  local file code answer
  for file in denied-network:NETWORK_ACCESS_DENIED denied-repo:REPO_NOT_ALLOWED; do
    IFS=: read -r file code <<<"$file"
    printf '$ kubectl --namespace %s apply -f examples/%s.yaml\n' "$TENANT" "$file"
    if answer="$(kubectl --namespace "$TENANT" apply -f "examples/$file.yaml" 2>&1)"; then die "it was not denied: $answer"; fi
    printf '%s\n' "$answer"
    [[ "$answer" == *"$code"* ]] || die "denied without the code $code"
  done
}

# The traces lie on a volume that the operator and the workers mount. The operator's image has no shell, so a pod of the
# worker's image looks, on the operator's node, where the volume is.
trace() {
  local folder node pod=trace-viewer look
  folder="$(field analysis .status.trace.path)"
  [[ -n "$folder" ]] || die "Task analysis has no trace in its status"
  node="$(kubectl --namespace "$SYSTEM" get pods --selector=app.kubernetes.io/component=operator \
    --output=jsonpath='{.items[0].spec.nodeName}')"
  look="cd '/traces/$folder'; echo '$folder/'; find . -type f -printf '  %10s  %P\n' | sort -k2"
  look+="; echo; echo 'artifacts/report.md:'; echo; head -n 40 artifacts/report.md"
  kubectl --namespace "$SYSTEM" delete pod "$pod" --ignore-not-found >/dev/null
  kubectl apply -f - >/dev/null <<END
apiVersion: v1
kind: Pod
metadata: { name: $pod, namespace: $SYSTEM }
spec:
  nodeName: $node
  restartPolicy: Never
  automountServiceAccountToken: false
  securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: RuntimeDefault } }
  volumes: [{ name: traces, persistentVolumeClaim: { claimName: jct-traces, readOnly: true } }]
  containers:
    - name: look
      image: jct-worker:$TAG
      imagePullPolicy: IfNotPresent
      command: [sh, -euc, "$look"]
      volumeMounts: [{ name: traces, mountPath: /traces, readOnly: true }]
      securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }
END
  kubectl --namespace "$SYSTEM" wait "pod/$pod" --for=jsonpath='{.status.phase}'=Succeeded --timeout=60s >/dev/null ||
    { kubectl --namespace "$SYSTEM" logs "$pod" >&2 || true; die "the trace could not be read"; }
  kubectl --namespace "$SYSTEM" logs "$pod"
  kubectl --namespace "$SYSTEM" delete pod "$pod" --wait=false >/dev/null
  printf '\nIn the status, the digest that binds it:\n  manifest.json sha256 %s\n' \
    "$(field analysis .status.trace.manifestSha256)"
}

record() {
  local trace_id
  trace_id="$(field analysis .status.traceId)"
  show kubectl --namespace "$SYSTEM" exec deployment/jct -- /jct audit --trace "$trace_id"
  show kubectl --namespace "$SYSTEM" exec deployment/jct -- /jct audit --verify
}

further() {
  local environment="eval \"\$(tests/cluster/env.sh $NAME)\""
  cat <<END
How to look further:
  $environment    # kubectl and helm for this cluster
  kubectl --namespace $TENANT get tasks.jct.dev analysis --output=yaml
  kubectl --namespace $SYSTEM logs deployment/jct
  kubectl --namespace $SYSTEM port-forward service/jct-api 8000:80    # then http://localhost:8000/docs
  kubectl --namespace $TENANT apply -f examples/suspended.yaml
END
  if [[ "$NAME" == existing ]]; then
    echo "Undo it: CLUSTER=existing scripts/demo.sh --undo"
  else
    echo "Undo it: make cluster-down CLUSTER=$NAME"
  fi
}

undo() {
  require_up
  export KUBECONFIG="$KUBECONFIG_FILE" PATH="$TOOLS:$PATH"
  if [[ -n "$(made_by_demo "$TENANT")" ]]; then
    # While the operator is there, it records the deletion.
    kubectl --namespace "$TENANT" delete tasks.jct.dev --all --timeout=30s || true
  fi
  if [[ -n "$(made_by_demo "$SYSTEM")" ]]; then
    helm uninstall jct --namespace "$SYSTEM" --ignore-not-found --wait --timeout 3m
    kubectl --namespace "$SYSTEM" delete jobs --selector=app.kubernetes.io/managed-by=jct
  fi
  for namespace in "$TENANT" "$SYSTEM"; do
    [[ -z "$(made_by_demo "$namespace")" ]] || kubectl delete namespace "$namespace" --timeout=2m
  done
  if [[ -z "$(kubectl get tasks.jct.dev --all-namespaces --output=name 2>/dev/null)" ]]; then
    kubectl delete -f charts/jct/crds --ignore-not-found
  else
    echo "Other namespaces have Tasks: the CRDs stay."
  fi
  if [[ "$NAME" != existing ]]; then tests/cluster/git-server.sh "$NAME" stop; fi
}

main "$@"
