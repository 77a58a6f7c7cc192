#!/usr/bin/env bash
# The end-to-end tests: a cluster, the images of a debug build, the chart, the suite, an uninstall, a cluster filled with the
# largest objects that there can be, and all of it gone:
#   tests/e2e.sh [FILTER…]              tests whose names hold one of FILTER; without one all
#   tests/e2e.sh --ignored FILTER       one of those at the end: uninstall::, memory::
# CLUSTER names the cluster (test). KEEP=1 leaves it up, so that a repeat begins at the images.
# shellcheck source=cluster/lib.sh
. "$(dirname "$0")/cluster/lib.sh"
ROOT="$(dirname "$(dirname "$HERE")")"
WORK="${CARGO_TARGET_DIR:-$ROOT/target}/e2e"
RELEASE=jct-system
THREADS="${E2E_THREADS:-6}"

main() {
  cd "$ROOT" || exit
  use_cluster "${CLUSTER:-test}"
  [[ "$NAME" != existing ]] || die "the suite breaks and mends its cluster: it needs one of its own, not CLUSTER=existing"
  alone "$@"
  "$HERE/prerequisites.sh" rust cluster images postgres gitea
  echo "End-to-end tests:"
  step "jct and its tests are built" build
  trap finish EXIT
  step "cluster $NAME is up" quietly "$HERE/up.sh" "$NAME"
  use_cluster "$NAME"
  step "images are in the cluster" images
  step "repositories are served" repositories
  step "a forge is there" forge
  step "chart is installed" install
  run "$@"
  if ((!$#)); then
    run --ignored uninstall::
    run --ignored memory::
  fi
  passed=yes
}

# Two runs on one cluster would take the repositories and the release from each other.
alone() {
  [[ "${E2E_ALONE:-}" != "$NAME" ]] || return 0
  mkdir -p "$CLUSTERS"
  E2E_ALONE="$NAME" flock --nonblock --close --conflict-exit-code 75 "$CLUSTERS/.$NAME.e2e.lock" \
    "$HERE/../e2e.sh" "$@" && exit
  local code=$?
  ((code != 75)) || die "another run uses the cluster $NAME: name another one, CLUSTER=other $0"
  exit "$code"
}

# With the features of the whole workspace, as all tests are built: what they share is built once. Tests of the commands, of
# the worker's steps and of the page of kubectl jct bring the programs that they start.
build() {
  TESTS="$(cargo test --quiet --workspace --locked --test e2e --test commands --test steps --test page --no-run --message-format=json |
    sed -n 's/.*"name":"e2e".*"executable":"\([^"]*\)".*/\1/p')"
  cargo build --quiet --workspace --locked --bin jct-hostile --bin fake-model --bin jct-relay
  BINARY="$(dirname "$(dirname "$TESTS")")/jct"
  HOSTILE="$(dirname "$BINARY")/jct-hostile"
  FAKE_MODEL="$(dirname "$BINARY")/fake-model"
  TAG="$(cat "$BINARY" "$(dirname "$BINARY")"/jct-{worker,relay} "$HOSTILE" "$FAKE_MODEL" | sha256sum | cut -c1-12)"
  HOSTILE_IMAGE="docker.io/library/jct-hostile:$TAG"
  AGENT_IMAGE="docker.io/library/scripted-agent:$TAG"
  MODEL_IMAGE="docker.io/library/fake-model:$TAG"
}

images() {
  local codex
  quietly images/build.sh "$BINARY" "$WORK/images" "$TAG"
  agent_image
  hostile_image
  model_image
  read -r codex CODEX_IMAGE <<<"$("$HERE/../agents/image.sh" codex | tail -n 1)"
  quietly "$HERE/load-image.sh" "$NAME" "$WORK/images"/{operator,worker,agent,hostile,model}.tar
  quietly "$HERE/load-image.sh" "$NAME" --missing "$codex"
}

# What examples/executors/scripted-agent/Containerfile says, without a builder: busybox and the script.
agent_image() {
  local layer="$WORK/images/agent.layer" tool
  rm -rf "$layer"
  mkdir -p "$layer"/{bin,agent}
  cp /bin/busybox "$layer/bin/busybox"
  for tool in $("$layer/bin/busybox" --list); do [[ -e "$layer/bin/$tool" ]] || ln -s busybox "$layer/bin/$tool"; done
  cp examples/executors/scripted-agent/agent.sh "$layer/agent/agent.sh"
  tar -C "$layer" --owner=0 --group=0 --sort=name --mtime=@0 -cf "$layer.tar" bin agent
  image_archive "$WORK/images/agent.tar" "$AGENT_IMAGE" "" "$layer.tar"
}

# FROM scratch: an executor's image needs nothing of ours. It sets what steps of a worker and their libraries could read, names
# another signal for its end, and has links to what is ours.
hostile_image() {
  local layer="$WORK/images/hostile.layer"
  mkdir -p "$layer"
  strip -o "$layer/hostile" "$HOSTILE"
  ln -sfn /work/private "$layer/link-private"
  ln -sfn /work/in "$layer/link-in"
  ln -sfn / "$layer/link-root"
  tar -C "$layer" --owner=0 --group=0 -cf "$layer.tar" hostile link-private link-in link-root
  IMAGE_CONFIG='"StopSignal":"SIGUSR1","Env":["PATH=/of/the/image","JCT_SANDBOX_READS=/work,/","JCT_PARENT=1",
    "JCT_SANDBOX_NO_UNIX_SOCKETS=true","JCT_RECORDER_PATIENCE_SECONDS=0","JCT_WORK_DIR=/","JCT_TMP_DIR=/work/private",
    "LD_PRELOAD=/hostile","RUST_LOG=trace","MIMALLOC_VERBOSE=1","HOME=/work/private","TMPDIR=/work/private"]' \
    image_archive "$WORK/images/hostile.tar" "$HOSTILE_IMAGE" "" "$layer.tar"
}

# A provider of models, which says what it is told to.
model_image() {
  local layer="$WORK/images/model.layer"
  mkdir -p "$layer"
  strip -o "$layer/fake-model" "$FAKE_MODEL"
  tar -C "$layer" --owner=0 --group=0 -cf "$layer.tar" fake-model
  image_archive "$WORK/images/model.tar" "$MODEL_IMAGE" /fake-model "$layer.tar"
}

repositories() {
  rm -rf "$WORK/repositories"
  mkdir -p "$WORK/repositories"
  URL="$("$HERE/git-server.sh" "$NAME" start "$WORK/repositories")"
}

forge() {
  FORGE_URL="$("$HERE/gitea.sh" "$NAME" start "$STATE/gitea")"
}

# Short times, small limits: so that running into them takes seconds.
install() {
  local issuer
  issuer="$(cat "$STATE/issuer")"
  cat >"$WORK/values.yaml" <<END
api:
  oidc:
    issuerUrl: https://$issuer
    clientId: jct-console
    scopes: [groups]
    ca: |
$(sed 's/^/      /' "$STATE/pki/ca.crt")
image: { tag: "$TAG" }
log: { debug: true }
policy: { allowedRepoPrefixes: [demo/, half/na] }
source: { urlTemplate: "$URL/{repo}.git", allowPlaintext: true, maxFiles: 20000, maxBytes: 1073741824, timeoutSeconds: 180 }
workers:
  image: { tag: "$TAG" }
  startTimeoutSeconds: 20
  retryDelaySeconds: 1
  infrastructureRetries: 1
  executorWaitSeconds: 2
  resources: { requests: { cpu: 10m, memory: 32Mi } }
  networkPolicy: { ports: [${URL##*:}, ${FORGE_URL##*:}] }
executors:
  executors:
    - &hostile
      name: hostile
      operations: [analysis, code_change]
      namespaces: ["escapes-*"]
      image: "$HOSTILE_IMAGE"
      command: [/hostile]
      resources: { requests: { cpu: 10m, memory: 32Mi }, limits: { cpu: "1", memory: 512Mi } }
      time: { maxSeconds: 60, killAfterSeconds: 1 }
      limits: { maxProcesses: 64, maxOpenFiles: 256, maxFileBytes: 67108864, maxDiskBytes: 134217728, maxLogBytes: 65536 }
      outputs: { change: false, maxArtifacts: 100, maxArtifactBytes: 8388608 }
    # Ended soon, for what has no other end.
    - { <<: *hostile, name: hostile-brief, time: { maxSeconds: 5, killAfterSeconds: 1 } }
    - name: scripted-agent
      operations: [code_change, docs]
      image: "$AGENT_IMAGE"
      command: [/agent/agent.sh]
      resources: &small { requests: { cpu: 10m, memory: 16Mi }, limits: { cpu: "1", memory: 128Mi } }
      outputs: { maxChangedFiles: 100, required: [report.md] }
    - { name: elsewhere, operations: [analysis], namespaces: ["nobody-*"], image: "$AGENT_IMAGE", command: ["true"] }
    # Prints, leaves something behind, and does not end.
    - &endless
      name: endless
      operations: [analysis]
      image: "$AGENT_IMAGE"
      command: [sh, -c, "echo begun; echo kept >\"\$JCT_OUT/kept.txt\"; trap '' TERM; while :; do sleep 1; done"]
      resources: *small
      time: { killAfterSeconds: 1 }
    - { <<: *endless, name: hasty, time: { maxSeconds: 2, killAfterSeconds: 1 } }
    # Shows all that it can read of its container but programs: what is in there is for a test to say.
    - name: searcher
      operations: [analysis]
      namespaces: ["forges-*"]
      image: "$AGENT_IMAGE"
      command:
        - sh
        - -c
        - |
          cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ /proc/self/mountinfo >"\$JCT_OUT/proc.bin" 2>/dev/null
          find . "\$HOME" /work/in /work/private /work/result /work/git /tmp /agent /run /var -type f 2>/dev/null |
            while read -r file; do cat "\$file"; done >"\$JCT_OUT/files.bin" 2>/dev/null
          ls -laR . /work /jct /tmp /agent / >"\$JCT_OUT/names.txt" 2>&1
          exit 0
      resources: *small
    # Two, for one alone is refused its memory before the kernel has to take it.
    - name: glutton
      operations: [analysis]
      image: "$AGENT_IMAGE"
      command: [sh, -c, "eat() { awk 'BEGIN { while (1) eaten[i++] = i }'; }; eat & eat & wait; exit 1"]
      resources: *small
    # Has the model say what is to be written, tries what it may not, and tells what it got.
    - &modelled
      name: modelled
      operations: [code_change]
      namespaces: ["models-*"]
      image: "$AGENT_IMAGE"
      command:
        - sh
        - -euc
        - |
          ask() {
            wget -q -O - --header "Content-Type: application/json" --header "Authorization: Bearer of-the-program" \\
              --post-data "{\\"model\\": \\"{model}\\", \\"max_tokens\\": 100, \\"messages\\": [{\\"role\\": \\"user\\", \\"content\\": \\"\$1\\"}]}" \\
              "{model_url}/v1/chat/completions"
          }
          echo "::step::Asking \$JCT_MODEL"
          ask "\$JCT_OBJECTIVE" >"\$TMPDIR/answer"
          echo "::step::Writing what it said"
          sed 's/.*"content":"\([^"]*\)".*/\1/' "\$TMPDIR/answer" >said.txt
          for url in http://127.0.0.1:8090/ http://10.0.0.1/ http://kubernetes.default.svc/; do
            wget -q -O - "\$url" >>"\$JCT_OUT/tries.txt" 2>&1 || true
          done
      model: { aliases: [scripted], maxUsd: 1 }
      resources: *small
    - { <<: *hostile, name: hostile-with-a-model, namespaces: ["models-*"], model: { aliases: [scripted], maxUsd: 500 } }
    - { <<: *modelled, name: modelled-poor, model: { aliases: [scripted], maxUsd: 0.0001 } }
$(codex)
    - { name: failing, operations: [analysis], image: "$AGENT_IMAGE", command: [sh, -c, "echo no >&2; exit 3"], resources: *small }
END
  cat >>"$WORK/values.yaml" <<END
# Who is told, and where, a test says.
notifications: { receivers: [{ name: nobody, url: "https://127.0.0.1", namespaces: [nobody], signingKey: { secret: e2e-notify, key: key } }] }
test: { task: { repo: demo/normal } }
# The same.
forges: [{ name: nobody, kind: git, repos: [nobody/], git: "https://127.0.0.1/{repo}" }]
# Where it is, and to whom it is granted, a test says.
models:
  providers:
    - { name: scripted, dialect: openai_chat, url: "https://127.0.0.1", key: { secret: e2e-models, key: key } }
    - { name: responses, dialect: openai_responses, url: "https://127.0.0.1", key: { secret: e2e-models, key: key } }
  models:
    - { alias: scripted, provider: scripted, model: scripted-1, usd_per_million: { input: 1000, output: 1000 } }
    - { alias: gpt, provider: responses, model: scripted-2, usd_per_million: { input: 3, output: 15 } }
END
  if [[ -e "$STATE/webhook-client" ]]; then client_ca >>"$WORK/values.yaml"; fi
  kc delete namespaces --selector jct-e2e --wait=false >/dev/null
  kc create namespace "$RELEASE" --dry-run=client --output=yaml | quietly kc apply -f -
  quietly kc label namespace "$RELEASE" pod-security.kubernetes.io/enforce=restricted --overwrite
  quietly kc apply --server-side --force-conflicts -f charts/jct/crds
  KUBECONFIG="$KUBECONFIG_FILE" quietly "$TOOLS/helm" upgrade --install jct charts/jct --namespace "$RELEASE" \
    --values "$WORK/values.yaml" --wait --timeout 120s
}

# A real agent program, as the example has it.
codex() {
  sed -n "/^  - name:/,\$ { s|image: .*|image: \"$CODEX_IMAGE\"|; s|team-\*|models-*|; s/requests: {[^}]*}/requests: { cpu: 10m, memory: 64Mi }/; s/^/  /; p }" \
    examples/executors/codex/executors.yaml
}

# The API server shows a certificate of the cluster's CA, as kubelets and others do: the name tells which.
client_ca() {
  local authority='{.clusters[0].cluster.certificate-authority-data}'
  printf 'webhook:\n  clientCA:\n    names: [%s]\n    pem: |\n' "$(<"$STATE/webhook-client")"
  kc config view --raw --output=jsonpath="$authority" | base64 -d | sed 's/^/      /'
}

# As root, for volumes and the log of the API server are root's.
run() {
  local root=()
  ((EUID == 0)) || root=(sudo)
  "${root[@]}" env PATH="$TOOLS:$PATH" HOME="$HOME" KUBECONFIG="$KUBECONFIG_FILE" \
    JCT_E2E_KUBECONFIG="$KUBECONFIG_FILE" JCT_E2E_STATE="$STATE" JCT_E2E_VALUES="$WORK/values.yaml" \
    JCT_E2E_REPOSITORIES="$WORK/repositories" JCT_E2E_CLUSTER="$NAME" JCT_E2E_BINARY="$BINARY" \
    JCT_E2E_MODEL_IMAGE="$MODEL_IMAGE" JCT_E2E_FORGE="$STATE/gitea" JCT_E2E_FORGE_URL="$FORGE_URL" \
    "$TESTS" --show-output --test-threads="$THREADS" "$@" | tee "$WORK/tests.log"
}

finish() {
  local code=$?
  trap - EXIT
  if [[ -z "${passed:-}" ]]; then show_what_is_there >&2; fi
  if [[ -z "${KEEP:-}" ]]; then "$HERE/down.sh" "$NAME"; fi
  exit "$code"
}

show_what_is_there() {
  echo "--- what is there"
  kc get tasks,jobs,pods,persistentvolumeclaims --all-namespaces || true
  kc get events --all-namespaces --field-selector type=Warning --sort-by=.lastTimestamp | tail -n 20 || true
  echo "--- the operator's last words, INFO and up"
  kc --namespace "$RELEASE" logs deployment/jct --tail=2000 | grep -v '"level":"DEBUG"' | tail -n 60 || true
  kc --namespace "$RELEASE" logs deployment/jct --previous --tail=20 2>/dev/null || true
  echo "--- what failed"
  grep -A 3 "panicked at" "$WORK/tests.log" | cut -c 1-600 || true
}

# quietly COMMAND…: its output only when it fails.
quietly() {
  local out
  out="$("$@" 2>&1)" || { local code=$?; printf '%s\n' "$out" >&2; return "$code"; }
}

passed=""
main "$@"
