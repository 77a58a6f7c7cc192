#!/usr/bin/env bash
# Brings up a real single-node Kubernetes, or leaves it be where it is up: up.sh [--api-only] [NAME].
# With --api-only just etcd and the API server, on free ports of 127.0.0.1, for any user: no pod runs there.
. "$(dirname "$0")/lib.sh"
. "$HERE/pki.sh"

main() {
  local mode=node began=${EPOCHREALTIME/[.,]/}
  local arguments=("$@")
  if [[ "${1:-}" == --api-only ]]; then mode=api-only; shift; fi
  (($# <= 1)) || die "usage: up.sh [--api-only] [NAME]"
  use_cluster "${1:-jct}"
  if [[ "$NAME" == existing ]]; then use_existing; return; fi
  [[ "$(cat "$STATE/mode" 2>/dev/null || echo $mode)" == "$mode" ]] ||
    die "cluster $NAME is up in another mode: make cluster-down CLUSTER=$NAME"
  "$HERE/prerequisites.sh" cluster
  if [[ $mode == api-only ]]; then "$HERE/tools.sh" kubectl etcd kube-apiserver; else "$HERE/tools.sh"; become_root "${arguments[@]}"; fi

  mkdir -p "$CLUSTERS"
  exec 9>"$CLUSTERS/.$NAME.lock"
  flock 9
  echo "Cluster $NAME:"
  if [[ $mode == api-only ]]; then up_api_only; else up_node; fi
  give_to_caller "$CLUSTERS/.$NAME.lock" "$STATE/kubeconfig"
  echo "Up after $(elapsed "$began"). KUBECONFIG=$KUBECONFIG_FILE"
}

use_existing() {
  "$HERE/tools.sh" kubectl
  kc get --raw /readyz >/dev/null || die "CLUSTER=existing is the cluster of KUBECONFIG ($KUBECONFIG_FILE), and it does not answer"
  echo "Using the cluster of $KUBECONFIG_FILE ($("$TOOLS/kubectl" --kubeconfig="$KUBECONFIG_FILE" config current-context))"
}

up_node() {
  # After a restart of the machine, or a start that broke off: nothing of it is worth keeping.
  if [[ -e "$STATE" && ! -e "$NETNS_FILE" ]]; then
    step "clear what an earlier run left" "$HERE/down.sh" --locked "$NAME"
  fi
  ((${#STATE} <= 70)) || die "the path $STATE is too long for a socket: set XDG_STATE_HOME to a shorter one"
  mkdir -p "$STATE"
  echo node >"$STATE/mode"
  step "network namespace" network
  step "certificates" node_certificates
  step "API server" control_plane
  step "node, controllers, DNS" node
  step "storage and DNS objects" objects
  step "node is Ready, DNS answers" ready
}

# A namespace of its own, reached from this machine only, at its one address. Nothing leaves it.
network() {
  modprobe -qa overlay br_netfilter veth 2>/dev/null || true
  exec 8>"$CLUSTERS/.index.lock"
  flock 8
  if [[ ! -e "$STATE/index" ]]; then
    [[ ! -e "$NETNS_FILE" ]] || die "a network namespace $NETNS is there, not from $STATE: make cluster-down CLUSTER=$NAME"
    use_index "$(free_index)"
    echo "$INDEX" >"$STATE/index"
  fi
  [[ -e "$NETNS_FILE" ]] || ip netns add "$NETNS"
  [[ -e "/sys/class/net/$LINK" ]] || ip link add "$LINK" type veth peer name eth0 netns "$NETNS"
  exec 8>&-
  ip address replace "$HOST_ADDRESS/30" dev "$LINK"
  ip link set "$LINK" up
  ip -n "$NETNS" address replace "$NODE_ADDRESS/30" dev eth0
  ip -n "$NETNS" link set lo up
  ip -n "$NETNS" link set eth0 up
  # kube-proxy turns a packet to a Service elsewhere, but without any route there is no packet.
  ip -n "$NETNS" route replace "$SERVICE_SUBNET" dev eth0 src "$NODE_ADDRESS"
  in_netns bash -c 'cd /proc/sys/net && echo 1 >ipv4/ip_forward && echo 1 >bridge/bridge-nf-call-iptables'
}

free_index() {
  local index
  for index in {0..254}; do
    if [[ ! -e "/sys/class/net/jct-$index" ]] && ! ip route show to match "10.213.$index.1" | grep -qv ^default; then
      echo "$index"
      return
    fi
  done
  die "no free address below 10.213.0.0/16"
}

node_certificates() {
  local server="https://$NODE_ADDRESS:6443"
  make_certificates "$NODE_ADDRESS" 127.0.0.1 "${SERVICE_SUBNET%.0/*}.1"
  component controller-manager /CN=system:kube-controller-manager "$server"
  component scheduler /CN=system:kube-scheduler "$server"
  component kubelet "/O=system:nodes/CN=system:node:$NAME" "$server"
  component proxy /CN=system:kube-proxy "$server"
  component coredns /CN=coredns "$server"
}

control_plane() {
  containerd
  etcd 2379 2380
  apiserver 2379 6443 --advertise-address="$NODE_ADDRESS" --kubelet-preferred-address-types=InternalIP
  kubeconfig "$KUBECONFIG_FILE" admin "https://$NODE_ADDRESS:6443"
  wait_for apiserver 60 kc get --raw /readyz
}

containerd() {
  mkdir -p "$STATE/cni"
  render containerd.toml >"$STATE/containerd.toml"
  render cni.conflist >"$STATE/cni/10-jct.conflist"
  start_daemon containerd containerd --config "$STATE/containerd.toml"
}

# etcd CLIENT-PORT PEER-PORT. Tests of memory write large objects, each of which it keeps several times until it compacts.
etcd() {
  start_daemon etcd "$TOOLS/etcd" --name=default --data-dir="$STATE/etcd" --logger=zap --log-level=warn --quota-backend-bytes=8589934592 \
    --listen-client-urls="http://127.0.0.1:$1" --advertise-client-urls="http://127.0.0.1:$1" \
    --listen-peer-urls="http://127.0.0.1:$2" --initial-advertise-peer-urls="http://127.0.0.1:$2" \
    --initial-cluster="default=http://127.0.0.1:$2"
}

# apiserver ETCD-PORT PORT FLAG…
apiserver() {
  local etcd_port="$1" port="$2" pki="$STATE/pki"
  shift 2
  # A cluster that was made before has none.
  if [[ -e "$pki/admission.yaml" ]]; then set -- "$@" --admission-control-config-file="$pki/admission.yaml"; fi
  if [[ -e "$pki/authentication.yaml" ]]; then set -- "$@" --authentication-config="$pki/authentication.yaml"; fi
  start_daemon apiserver "$TOOLS/kube-apiserver" --etcd-servers="http://127.0.0.1:$etcd_port" --secure-port="$port" \
    --service-cluster-ip-range="$SERVICE_SUBNET" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --client-ca-file="$pki/ca.crt" --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/service-accounts.key" \
    --service-account-signing-key-file="$pki/service-accounts.key" \
    --audit-policy-file="$HERE/config/audit-policy.yaml" --audit-log-path="$STATE/audit.log" --audit-log-maxsize=100 \
    --audit-log-maxbackup=2 "$@"
}

node() {
  local pki="$STATE/pki"
  wait_for containerd 30 ctr --address "$STATE/containerd.sock" version
  ctr --address "$STATE/containerd.sock" --namespace k8s.io images import "$TOOLS/pause.tar" >/dev/null
  make_cgroups
  mkdir -p "$STATE/kubelet"
  render kubelet.yaml >"$STATE/kubelet.yaml"
  render Corefile >"$STATE/Corefile"
  start_daemon kubelet "$TOOLS/kubelet" --config="$STATE/kubelet.yaml" --kubeconfig="$pki/kubelet.kubeconfig" \
    --root-dir="$STATE/kubelet" --cert-dir="$STATE/kubelet/pki" --hostname-override="$NAME" --node-ip="$NODE_ADDRESS"
  start_daemon controller-manager "$TOOLS/kube-controller-manager" --kubeconfig="$pki/controller-manager.kubeconfig" \
    --leader-elect=false --use-service-account-credentials --root-ca-file="$pki/ca.crt" \
    --service-account-private-key-file="$pki/service-accounts.key" --cluster-signing-cert-file="$pki/ca.crt" \
    --cluster-signing-key-file="$pki/ca.key" --kube-api-qps=200 --kube-api-burst=400
  start_daemon scheduler "$TOOLS/kube-scheduler" --kubeconfig="$pki/scheduler.kubeconfig" --leader-elect=false
  start_daemon proxy "$TOOLS/kube-proxy" --kubeconfig="$pki/proxy.kubeconfig" --hostname-override="$NAME" \
    --cluster-cidr="$POD_SUBNET" --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 \
    --conntrack-tcp-timeout-close-wait=0
  start_daemon coredns "$TOOLS/coredns" -conf "$STATE/Corefile"
}

# The kubelet puts every pod below this cgroup, in each hierarchy of version 1 or in the one of version 2.
make_cgroups() {
  local root=/sys/fs/cgroup controller
  if [[ -e $root/cgroup.controllers ]]; then
    mkdir -p "$root/$CGROUP"
    for controller in $(<$root/cgroup.controllers); do
      echo "+$controller" >$root/cgroup.subtree_control || true
      echo "+$controller" >"$root/$CGROUP/cgroup.subtree_control" || true
    done 2>/dev/null
  else
    for controller in "$root"/*/; do
      [[ -L "${controller%/}" ]] || mkdir -p "$controller$CGROUP"
    done
  fi
}

objects() {
  local volume
  if [[ ! -e "$STATE/objects.yaml" ]]; then
    {
      render objects.yaml
      for volume in {1..16}; do
        mkdir -p "$STATE/volumes/$volume"
        chmod 0777 "$STATE/volumes/$volume"
        render volume.yaml | sed "s/@VOLUME@/$volume/g"
      done
    } >"$STATE/objects.yaml.new"
    kc apply --validate=false -f "$STATE/objects.yaml.new" >/dev/null
    mv "$STATE/objects.yaml.new" "$STATE/objects.yaml"
  fi
  # A volume whose claim is gone is emptied and offered again.
  kc get persistentvolumes -o jsonpath='{range .items[?(@.status.phase=="Released")]}{.metadata.name}{"\n"}{end}' |
    while read -r volume; do
      find "$STATE/volumes/${volume#jct-local-}" -mindepth 1 -delete
      kc patch persistentvolume "$volume" --type=json -p '[{"op":"remove","path":"/spec/claimRef"}]' >/dev/null
    done
}

ready() {
  local daemon
  wait_for kubelet 90 node_is_ready
  wait_for coredns 30 dns_is_ready
  for daemon in containerd etcd controller-manager scheduler proxy; do wait_for "$daemon" 1 true; done
}

# Pods can be made once the default service account is there too.
node_is_ready() {
  kc wait --for=condition=Ready "node/$NAME" --timeout=1s && kc get serviceaccount default
}

dns_is_ready() {
  in_netns bash -c 'exec 3<>/dev/tcp/127.0.0.1/8181; printf "GET /ready HTTP/1.0\r\n\r\n" >&3; grep -q "200 OK" <&3'
}

up_api_only() {
  local client peer secure
  if [[ ! -e "$STATE/ports" ]]; then
    mkdir -p "$STATE"
    echo api-only >"$STATE/mode"
    read -r client peer secure <<<"$(free_ports 3)"
    echo "$client $peer $secure" >"$STATE/ports"
  fi
  read -r client peer secure <"$STATE/ports"
  step "certificates" make_certificates 127.0.0.1
  step "API server" api_only_control_plane
}

api_only_control_plane() {
  etcd "$client" "$peer"
  apiserver "$client" "$secure" --bind-address=127.0.0.1 --endpoint-reconciler-type=none \
    --disable-admission-plugins=ServiceAccount
  kubeconfig "$KUBECONFIG_FILE" admin "https://127.0.0.1:$secure"
  wait_for apiserver 60 kc get --raw /readyz
}

# free_ports COUNT: below the range that the kernel hands out by itself.
free_ports() {
  local found=() port used
  used="$(ss -Htan | awk '{print $4}')"
  while ((${#found[@]} < $1)); do
    port=$((20000 + RANDOM % 10000))
    grep -q ":$port$" <<<"$used" || found+=("$port")
  done
  echo "${found[@]}"
}

main "$@"
