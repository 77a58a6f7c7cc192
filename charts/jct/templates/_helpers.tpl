{{- define "jct.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Prefix of every name: the release's name, with the chart's where that isn't in it. */}}
{{- define "jct.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "jct.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "jct.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "jct.selectorLabels" -}}
app.kubernetes.io/name: {{ include "jct.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "jct.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "jct.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: jct
{{- end }}

{{- define "jct.labels" -}}
{{ include "jct.commonLabels" . }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "jct.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "jct.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{/* A reference from a value of images and the chart's version: by tag, and by digest where there is one. */}}
{{- define "jct.imageReference" -}}
{{- $image := index . 0 }}
{{- printf "%s:%s" $image.repository ($image.tag | default (index . 1)) }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "jct.image" -}}
{{- include "jct.imageReference" (list .Values.image .Chart.AppVersion) }}
{{- end }}

{{- define "jct.workerImage" -}}
{{- include "jct.imageReference" (list .Values.workers.image .Chart.AppVersion) }}
{{- end }}

{{- define "jct.workerNamespace" -}}
{{- .Values.workers.namespace | default .Release.Namespace }}
{{- end }}

{{/* Claim that worker pods mount, in their namespace. */}}
{{- define "jct.traceClaim" -}}
{{- .Values.traces.existingClaim | default (printf "%s-traces" (include "jct.fullname" .)) }}
{{- end }}

{{/* Claim that the operator mounts, in its own. */}}
{{- define "jct.operatorTraceClaim" -}}
{{- if eq (include "jct.workerNamespace" .) .Release.Namespace }}
{{- include "jct.traceClaim" . }}
{{- else if and .Values.traces.existingClaim .Values.traces.operatorClaim }}
{{- .Values.traces.operatorClaim }}
{{- else }}
{{- fail (printf "workers.namespace is %q, another namespace than the release's (%q): a pod can't mount a claim of another namespace, so set traces.existingClaim (a claim in %q) and traces.operatorClaim (a claim in %q), both for the same storage" .Values.workers.namespace .Release.Namespace .Values.workers.namespace .Release.Namespace) }}
{{- end }}
{{- end }}

{{- define "jct.allowedRepoPrefixes" -}}
{{- $prefixes := .Values.policy.allowedRepoPrefixes }}
{{- if kindIs "string" $prefixes }}{{ $prefixes }}{{ else }}{{ join "," $prefixes }}{{ end }}
{{- end }}

{{/* "true" where replicas can share the database. A URL in a Secret is taken for PostgreSQL's: SQLite's has no password. */}}
{{- define "jct.isShared" -}}
{{- if or .Values.database.existingSecret (hasPrefix "postgres" .Values.database.url) }}true{{ end }}
{{- end }}

{{- define "jct.replicas" -}}
{{- if gt (int64 .Values.replicas) 1 }}
{{- if not (include "jct.isShared" .) }}
{{- fail (printf "replicas is %d, and SQLite has one writer: set database.existingSecret or database.url to PostgreSQL, or replicas to 1" (int64 .Values.replicas)) }}
{{- else if .Values.data.enabled }}
{{- fail (printf "replicas is %d, and data.enabled mounts one SQLite volume into all of them: with PostgreSQL set data.enabled to false" (int64 .Values.replicas)) }}
{{- end }}
{{- end }}
{{- .Values.replicas | int64 }}
{{- end }}

{{- define "jct.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ .Values.workers.uid | int64 }}
runAsGroup: {{ .Values.workers.uid | int64 }}
fsGroup: {{ .Values.workers.uid | int64 }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "jct.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* ConfigMap of the worker namespace with the authorities that vouch for the source's server; empty without one. */}}
{{- define "jct.sourceCA" -}}
{{- if and .Values.source.ca.pem .Values.source.ca.configMap }}
{{- fail "source.ca: set one of pem and configMap" }}
{{- else if .Values.source.ca.pem }}
{{- printf "%s-source-ca" (include "jct.fullname" .) }}
{{- else }}
{{- .Values.source.ca.configMap }}
{{- end }}
{{- end }}

{{/* The resources of the work objects. */}}
{{- define "jct.workObjects" -}}
artifacts, constraintsnapshots, contextpackets, doctrinerefs, issues, repos, runs
{{- end }}

{{/* The volume source of the CA by which the webhook knows the API server; empty without one. */}}
{{- define "jct.clientCASource" -}}
{{- $ca := .Values.webhook.clientCA }}
{{- $given := compact (list $ca.pem $ca.configMap $ca.secret) }}
{{- if gt (len $given) 1 }}
{{- fail "webhook.clientCA: set one of pem, configMap and secret" }}
{{- else if and .Values.webhook.enabled $given }}
{{- $items := printf "items: [{ key: %q, path: ca.crt }]" $ca.key }}
{{- if $ca.secret }}
{{- printf "secret: { secretName: %q, %s }" $ca.secret $items }}
{{- else if $ca.configMap }}
{{- printf "configMap: { name: %q, %s }" $ca.configMap $items }}
{{- else }}
{{- printf "configMap: { name: %s-client-ca }" (include "jct.fullname" .) }}
{{- end }}
{{- end }}
{{- end }}
