#!/usr/bin/env bash
# Shows JCT at work from end to end: a cluster, the operator installed by its chart, Tasks that run, are denied and fail,
# their traces and their record. Can be run again and again.
#   demo.sh           on the test cluster $CLUSTER (jct), which is brought up, or with CLUSTER=existing on KUBECONFIG's
#   demo.sh --undo    takes away what it made, but the test cluster itself
# With JCT_DEMO_OPENAI_KEY or JCT_DEMO_ANTHROPIC_KEY the agent asks that provider in the place of a scripted model, JCT_DEMO_MODEL or
# one that is named below: the objective and what it reads of the repository go there, and it costs money.
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
# Which agent program works in the act with a model, what it speaks, and where.
AGENT=codex DIALECT=openai_responses MODEL="${JCT_DEMO_MODEL:-gpt-5.5}" PROVIDER="https://api.openai.com" KEY="${JCT_DEMO_OPENAI_KEY:-}"
if [[ -z "$KEY" && -n "${JCT_DEMO_ANTHROPIC_KEY:-}" ]]; then
  AGENT=claude-code DIALECT=anthropic MODEL="${JCT_DEMO_MODEL:-claude-sonnet-4-6}" PROVIDER="https://api.anthropic.com" KEY="$JCT_DEMO_ANTHROPIC_KEY"
fi
[[ -n "$KEY" ]] || MODEL=scripted PROVIDER="http://scripted-model.$TENANT.svc:8080"
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
  chapter "An agent with a model"; agent
  chapter "Done after $(elapsed "$BEGAN")"; further
}

chapter() { printf '\n== %s (%s)\n' "$1" "$(elapsed "$BEGAN")"; }
show() { printf '$ %s\n' "$*"; "$@"; }

binary() {
  tests/cluster/prerequisites.sh rust
  cargo build --release
  [[ -n "$KEY" ]] || cargo build --release --package jct-fake-model
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
  # The agent is cached; where it cannot be had, the rest is shown.
  AGENT_IMAGE=""
  if read -r AGENT_ARCHIVE AGENT_IMAGE <<<"$(tests/agents/image.sh "$AGENT" | tail -n 1)" && [[ -n "$AGENT_IMAGE" ]]; then
    [[ -n "$KEY" ]] || model_image
  else
    echo "  There is no agent program (it comes from npm): the act with a model is left out."
  fi
  step "loaded into the cluster" load
}

load() {
  tests/cluster/load-image.sh "$NAME" "$OUT/images/operator.tar" "$OUT/images/worker.tar" >/dev/null
  [[ -z "$AGENT_IMAGE" ]] || tests/cluster/load-image.sh "$NAME" --missing "$AGENT_ARCHIVE" >/dev/null
  [[ -z "$AGENT_IMAGE" || -n "$KEY" ]] || tests/cluster/load-image.sh "$NAME" "$OUT/images/model.tar" >/dev/null
}

# A provider of models that is scripted.
model_image() {
  local layer="$OUT/images/model.layer"
  mkdir -p "$layer"
  cp "$(dirname "$BINARY")/fake-model" "$layer/fake-model"
  tar -C "$layer" --owner=0 --group=0 -cf "$layer.tar" fake-model
  image_archive "$OUT/images/model.tar" "docker.io/library/fake-model:$TAG" /fake-model "$layer.tar"
}

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
  if [[ -n "$AGENT_IMAGE" ]]; then
    agent_values >>"$OUT/values.yaml"
    kubectl --namespace "$SYSTEM" create secret generic demo-models --from-literal="key=${KEY:-sk-of-the-demo}" \
      --dry-run=client --output=yaml | kubectl apply -f - >/dev/null
  fi
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

# The example's settings, for this namespace and by the image that was made. The scripted model has a price; a real one is limited by
# tokens, for this script knows no prices.
agent_values() {
  local alias price budget
  alias="$(sed -n 's/.*aliases: \[\([a-z]*\)\].*/\1/p' "examples/executors/$AGENT/executors.yaml")"
  if [[ -n "$KEY" ]]; then price="" budget="unlimited: true, max_tokens_per_day: 2000000"
  else price=", usd_per_million: { input: 3, output: 15 }" budget="max_usd_per_day: 5"; fi
  printf 'executors:\n  executors:\n'
  sed -n "/^  - name:/,\$ { s|image: .*|image: \"$AGENT_IMAGE\"|; s|team-\*|$TENANT|; s/requests: {[^}]*}/requests: { cpu: 10m, memory: 64Mi }/; s/^/  /; p }" \
    "examples/executors/$AGENT/executors.yaml" | if [[ -n "$KEY" ]]; then sed 's/, maxUsd: 5/, maxTokens: 1000000/'; else cat; fi
  cat <<END
models:
  providers: [{ name: demo, dialect: $DIALECT, url: "$PROVIDER", allow_plaintext: true, key: { secret: demo-models, key: key } }]
  models: [{ alias: $alias, provider: demo, model: "$MODEL"$price }]
  grants: [{ namespaces: [$TENANT], repos: [burntsushi/], aliases: [$alias], $budget }]
END
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

trace() {
  local folder
  folder="$(field analysis .status.trace.path)"
  [[ -n "$folder" ]] || die "Task analysis has no trace in its status"
  look "cd '/traces/$folder'; echo '$folder/'; find . -type f -printf '  %10s  %P\n' | sort -k2
    echo; echo 'artifacts/report.md:'; echo; head -n 40 artifacts/report.md"
  printf '\nIn the status, the digest that binds it:\n  manifest.json sha256 %s\n' \
    "$(field analysis .status.trace.manifestSha256)"
}

# look COMMANDS: the traces lie on a volume that the operator and the workers mount. The operator's image has no shell, so a pod of
# the worker's image looks, on the operator's node, where the volume is.
look() {
  local node pod=trace-viewer
  node="$(kubectl --namespace "$SYSTEM" get pods --selector=app.kubernetes.io/component=operator \
    --output=jsonpath='{.items[0].spec.nodeName}')"
  kubectl --namespace "$SYSTEM" delete pod "$pod" --ignore-not-found >/dev/null
  kubectl create -f - >/dev/null <<END
{ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "$pod", "namespace": "$SYSTEM" }, "spec": {
  "nodeName": "$node", "restartPolicy": "Never", "automountServiceAccountToken": false,
  "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
  "volumes": [{ "name": "traces", "persistentVolumeClaim": { "claimName": "jct-traces", "readOnly": true } }],
  "containers": [{ "name": "look", "image": "jct-worker:$TAG", "imagePullPolicy": "IfNotPresent",
    "command": ["sh", "-euc", $(json_text "$1")], "volumeMounts": [{ "name": "traces", "mountPath": "/traces", "readOnly": true }],
    "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } } }] } }
END
  kubectl --namespace "$SYSTEM" wait "pod/$pod" --for=jsonpath='{.status.phase}'=Succeeded --timeout=60s >/dev/null ||
    { kubectl --namespace "$SYSTEM" logs "$pod" >&2 || true; die "the trace could not be read"; }
  kubectl --namespace "$SYSTEM" logs "$pod"
  kubectl --namespace "$SYSTEM" delete pod "$pod" --wait=false >/dev/null
}

# json_text TEXT: as a string of JSON.
json_text() {
  local text="${1//\\/\\\\}"
  text="${text//\"/\\\"}"
  printf '"%s"' "${text//$'\n'/\\n}"
}

record() {
  local trace_id
  trace_id="$(field analysis .status.traceId)"
  show kubectl --namespace "$SYSTEM" exec deployment/jct -- /jct audit --trace "$trace_id"
  show kubectl --namespace "$SYSTEM" exec deployment/jct -- /jct audit --verify
}

# An agent program, unmodified, without a network and a key. Its model is scripted, unless there is a key.
agent() {
  if [[ -z "$AGENT_IMAGE" ]]; then echo "Left out: there is no agent program."; return; fi
  local folder
  [[ -n "$KEY" ]] || step "a scripted model is served" scripted_model
  sed "s/@AGENT@/$AGENT/" <<'END' | tee "$OUT/agent.yaml"
apiVersion: jct.dev/v1
kind: Task
metadata: { name: agent }
spec:
  requestedBy: { kind: agent, id: @AGENT@ }
  objective: Add a test to tests/misc.rs which shows that the empty pattern matches every line. Change nothing else.
  operation: code_change
  executor: @AGENT@
  target: { repo: burntsushi/ripgrep, ref: "14.1.1", path: tests }
END
  EXPECTED[agent]=Completed
  apply "$OUT/agent.yaml"
  follow
  [[ "$(field agent .status.phase)" == Completed ]] || die "the agent's Task should have been completed: $(field agent .status.message)"
  folder="$(field agent .status.trace.path)"
  printf '\nWhat it did, what it changed, and what it asked its model, for how much:\n'
  look "cd '/traces/$folder'; grep -e '\"executor_step\"' -e model_used events.jsonl | cut -c 1-220; echo
    cat artifacts/change.patch; echo
    sed -E 's/.*(\"seq\":[0-9]+).*(\"path\":\"[^\"]*\").*(\"gen_ai.request.model\":\"[^\"]*\").*(\"gen_ai.usage.input_tokens\":[0-9]+).*(\"gen_ai.usage.output_tokens\":[0-9]+).*(\"usd\":[0-9.e-]+).*/\1 \2 \3 \4 \5 \6/' model.jsonl"
}

scripted_model() {
  local command="cat >>misc.rs <<'END'

// The empty pattern matches every line.
rgtest!(empty_pattern, |dir: Dir, mut cmd: TestCommand| {
    dir.create(\"sherlock\", SHERLOCK);

    let expected = format!(\"{}\\n\", SHERLOCK.lines().count());
    eqnice!(expected, cmd.arg(\"--count\").arg(\"\").arg(\"sherlock\").stdout());
});
END"
  kubectl --namespace "$TENANT" delete pod scripted-model --ignore-not-found --now >/dev/null
  kubectl --namespace "$TENANT" apply -f - >/dev/null <<END
{ "apiVersion": "v1", "kind": "List", "items": [
  { "apiVersion": "v1", "kind": "Service", "metadata": { "name": "scripted-model" },
    "spec": { "selector": { "app": "scripted-model" }, "ports": [{ "port": 8080 }] } },
  { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "scripted-model", "labels": { "app": "scripted-model" } },
    "spec": { "automountServiceAccountToken": false, "containers": [{ "name": "model", "image": "docker.io/library/fake-model:$TAG",
      "imagePullPolicy": "IfNotPresent", "args": ["0.0.0.0:8080"],
      "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "allowPrivilegeEscalation": false },
      "env": [{ "name": "FAKE_KEY", "value": "sk-of-the-demo" }, { "name": "FAKE_COMMAND", "value": $(json_text "$command") },
        { "name": "FAKE_TEXT", "value": "The empty pattern matches every line: a test of it is in tests/misc.rs." }],
      "readinessProbe": { "tcpSocket": { "port": 8080 }, "periodSeconds": 1 } }] } }] }
END
  kubectl --namespace "$TENANT" wait pod/scripted-model --for=condition=Ready --timeout=60s >/dev/null
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
With kubectl-jct, which make install puts beside jct:
  kubectl jct report --namespace $TENANT analysis    # what a Task made; also: why, diff, logs, trace ls
  kubectl jct console --namespace $TENANT            # all of it in a browser, signed in
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
