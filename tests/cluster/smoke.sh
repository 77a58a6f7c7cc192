#!/usr/bin/env bash
# Proves that a cluster works: a Job with a claim, a Service with its DNS name, logs and exec, a refusal by Pod Security:
# smoke.sh [NAME].
. "$(dirname "$0")/lib.sh"

NAMESPACE="smoke-$$"

main() {
  (($# <= 1)) || die "usage: smoke.sh [NAME]"
  use_cluster "${1:-jct}"
  require_up
  become_root "$@"
  trap 'kc delete namespace "$NAMESPACE" --wait=false >/dev/null 2>&1 || true' EXIT
  echo "Cluster $NAME:"
  step "image loaded" load_image
  kc create namespace "$NAMESPACE" >/dev/null
  kc label namespace "$NAMESPACE" pod-security.kubernetes.io/enforce=restricted >/dev/null
  wait_for kubelet 20 kc --namespace "$NAMESPACE" get serviceaccount default
  step "restricted namespace refuses a privileged pod" refuses_privileged
  step "server behind a Service, as a user of no rights" server
  step "a Job writes to a claim and fetches by DNS name" job
  step "logs and exec" logs_and_exec
}

load_image() {
  local work archive
  work="$(mktemp -d)"
  mkdir -p "$work/bin"
  cp "$(command -v busybox)" "$work/bin/busybox"
  for applet in sh httpd wget nslookup cat; do ln -s busybox "$work/bin/$applet"; done
  tar -C "$work" -cf "$work/layer" bin
  archive="$work/smoke.tar"
  image_archive "$archive" jct-smoke:1 /bin/sh "$work/layer"
  "$HERE/load-image.sh" "$NAME" "$archive" >/dev/null
  rm -rf "$work"
}

refuses_privileged() {
  local answer
  answer="$(kc --namespace "$NAMESPACE" run no --image=jct-smoke:1 2>&1)" && die "a privileged pod was admitted"
  grep -q 'violates PodSecurity "restricted' <<<"$answer" || die "refused for another reason: $answer"
}

pod_spec() {
  cat <<END
securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: RuntimeDefault } }
restartPolicy: Never
terminationGracePeriodSeconds: 0
volumes: [{ name: data, persistentVolumeClaim: { claimName: data } }]
containers:
  - name: main
    image: jct-smoke:1
    imagePullPolicy: IfNotPresent
    args: ["-euc", "$1"]
    volumeMounts: [{ name: data, mountPath: /data }]
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] }, readOnlyRootFilesystem: true }
END
}

server() {
  local address
  kc --namespace "$NAMESPACE" apply -f - >/dev/null <<END
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data }
spec: { accessModes: [ReadWriteMany], resources: { requests: { storage: 1Gi } } }
---
apiVersion: v1
kind: Service
metadata: { name: server }
spec: { selector: { app: server }, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: server, labels: { app: server } }
spec:
$(pod_spec 'echo hello > /data/index.html; exec httpd -f -p 8080 -h /data' | sed 's/^/  /')
END
  kc --namespace "$NAMESPACE" wait --for=condition=Ready pod/server --timeout=60s >/dev/null
  # As the API server calls a webhook.
  address="$(kc --namespace "$NAMESPACE" get service server -o jsonpath='{.spec.clusterIP}')"
  wait_for proxy 10 in_netns bash -c "exec 3<>/dev/tcp/$address/80"
}

job() {
  kc --namespace "$NAMESPACE" apply -f - >/dev/null <<END
apiVersion: batch/v1
kind: Job
metadata: { name: client }
spec:
  backoffLimit: 3
  template:
    spec:
$(pod_spec "nslookup kubernetes.default.svc.cluster.local; wget -qO /data/copy http://server.$NAMESPACE/; wget -qO- http://server/; cat /data/copy" | sed 's/^/      /')
END
  kc --namespace "$NAMESPACE" wait --for=condition=Complete job/client --timeout=60s >/dev/null
}

logs_and_exec() {
  [[ "$(kc --namespace "$NAMESPACE" logs job/client | grep -c '^hello')" == 2 ]] || die "the Job did not fetch the page twice"
  [[ "$(kc --namespace "$NAMESPACE" exec server -- cat /data/copy)" == hello ]] || die "the claim is not shared"
}

main "$@"
