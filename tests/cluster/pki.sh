# The certificates and kubeconfigs of a cluster; sourced by up.sh.
# shellcheck shell=bash disable=SC2153

# make_certificates ADDRESS…: a CA, the API server's certificate for these addresses, the service accounts' key.
make_certificates() {
  local pki="$STATE/pki" names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost address
  [[ -e "$pki/complete" ]] && return
  mkdir -p "$pki"
  chmod 700 "$pki"
  for address in "$@"; do names+=",IP:$address"; done
  new_key "$pki/ca.key"
  openssl req -x509 -new -key "$pki/ca.key" -subj /CN=jct-test-cluster -days 3650 -out "$pki/ca.crt" \
    -addext keyUsage=critical,keyCertSign,digitalSignature
  new_key "$pki/service-accounts.key"
  certificate apiserver /CN=kube-apiserver "subjectAltName=$names"
  certificate admin /O=system:masters/CN=admin
  certificate "$WEBHOOK_CLIENT" "/CN=$WEBHOOK_CLIENT"
  webhook_client
  issuer
  touch "$pki/complete"
}

# By what the API server shows webhooks who it is: docs/install.md.
WEBHOOK_CLIENT=kube-apiserver-webhooks
webhook_client() {
  local pki="$STATE/pki"
  # It begins with a bracket only if it is JSON.
  cat >"$pki/admission.yaml" <<END
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: MutatingAdmissionWebhook
    configuration: &webhooks
      apiVersion: apiserver.config.k8s.io/v1
      kind: WebhookAdmissionConfiguration
      kubeConfigFile: $pki/webhooks.kubeconfig
  - name: ValidatingAdmissionWebhook
    configuration: *webhooks
END
  cat >"$pki/webhooks.kubeconfig" <<END
apiVersion: v1
kind: Config
users:
  - name: jct-webhook.jct-system.svc
    user: { client-certificate: $pki/$WEBHOOK_CLIENT.crt, client-key: $pki/$WEBHOOK_CLIENT.key }
END
  # For those who may not look into the folder.
  echo "$WEBHOOK_CLIENT" >"$STATE/webhook-client"
}

# People of the tests sign in at an issuer on the node, which a test is while it runs.
ISSUER_PORT=8419
issuer() {
  local pki="$STATE/pki" address="${NODE_ADDRESS:-127.0.0.1}"
  certificate issuer /CN=issuer "subjectAltName=IP:$address"
  cat >"$pki/authentication.yaml" <<END
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
  - issuer:
      url: https://$address:$ISSUER_PORT
      audiences: [jct-console]
      certificateAuthority: |
$(sed 's/^/        /' "$pki/ca.crt")
    claimMappings:
      username: { claim: sub, prefix: "oidc:" }
      groups: { claim: groups, prefix: "oidc:" }
END
  echo "$address:$ISSUER_PORT" >"$STATE/issuer"
}

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

# certificate NAME SUBJECT [EXTENSION]
certificate() {
  local pki="$STATE/pki" name="$1" subject="$2" extension="${3:-extendedKeyUsage=clientAuth}"
  new_key "$pki/$name.key"
  openssl req -new -key "$pki/$name.key" -subj "$subject" |
    openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -set_serial "0x$(openssl rand -hex 8)" -days 3650 \
      -extfile <(echo "$extension") -out "$pki/$name.crt" 2>/dev/null
}

# component NAME SUBJECT SERVER: a certificate and the kubeconfig that uses it.
component() {
  [[ -e "$STATE/pki/$1.kubeconfig" ]] && return
  certificate "$1" "$2"
  kubeconfig "$STATE/pki/$1.kubeconfig" "$1" "$3"
}

# kubeconfig FILE CERTIFICATE SERVER: with everything inside, so that it can be copied.
kubeconfig() {
  local pki="$STATE/pki"
  cat >"$1.partial" <<END
apiVersion: v1
kind: Config
clusters:
  - name: jct-$NAME
    cluster: { server: "$3", certificate-authority-data: $(base64 -w0 "$pki/ca.crt") }
users:
  - name: jct-$NAME
    user:
      client-certificate-data: $(base64 -w0 "$pki/$2.crt")
      client-key-data: $(base64 -w0 "$pki/$2.key")
contexts:
  - name: jct-$NAME
    context: { cluster: jct-$NAME, user: jct-$NAME }
current-context: jct-$NAME
END
  chmod 600 "$1.partial"
  mv "$1.partial" "$1"
}
