{{- define "radar.name" -}}
{{- printf "%s" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "radar.selector" -}}
app.kubernetes.io/name: radar
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "radar.labels" -}}
{{ include "radar.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "radar.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Options that follow from other values; also for the hook, which runs before the ConfigMap is there. */}}
{{- define "radar.options" -}}
{{- $options := dict
  "LOG_FORMAT" "json"
  "KAFKA_BROKER" .Values.kafka.brokers
  "KAFKA_SECURITY_PROTOCOL" .Values.kafka.securityProtocol
  "KAFKA_NUM_PARTITIONS" (.Values.kafka.partitions | toString)
  "CLICKHOUSE_HOST" .Values.clickhouse.host
  "CLICKHOUSE_PORT" (.Values.clickhouse.port | toString)
  "CLICKHOUSE_DB" .Values.clickhouse.database
  "CLICKHOUSE_SECURE" (.Values.clickhouse.secure | toString)
  "EXCHANGES" (join "," .Values.producers.exchanges)
}}
{{- with .Values.kafka }}
{{- if .saslMechanism }}{{ $_ := set $options "KAFKA_SASL_MECHANISM" .saslMechanism }}{{ end }}
{{- if .username }}{{ $_ := set $options "KAFKA_SASL_USERNAME" .username }}{{ end }}
{{- if .ca.secret }}{{ $_ := set $options "KAFKA_SSL_CA_FILE" (printf "/certs/kafka-ca/%s" .ca.key) }}{{ end }}
{{- if .client.secret }}
{{- $_ := set $options "KAFKA_SSL_CERTIFICATE_FILE" (printf "/certs/kafka-client/%s" .client.certificateKey) }}
{{- $_ := set $options "KAFKA_SSL_KEY_FILE" (printf "/certs/kafka-client/%s" .client.keyKey) }}
{{- end }}
{{- end }}
{{- with .Values.clickhouse.ca }}
{{- if .secret }}{{ $_ := set $options "CLICKHOUSE_CA_FILE" (printf "/certs/clickhouse-ca/%s" .key) }}{{ end }}
{{- end }}
{{- range $name, $value := .Values.config }}{{ $_ := set $options $name ($value | toString) }}{{ end }}
{{- toYaml $options }}
{{- end }}

{{/* Secret options; `user` is a user of ClickHouse with the place of its password, or nothing. */}}
{{- define "radar.secrets" -}}
{{- $root := .root }}
{{- with .user }}
- name: CLICKHOUSE_USER
  value: {{ .user | quote }}
- name: CLICKHOUSE_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}}
{{- end }}
{{- with $root.Values.kafka.password }}
{{- if .secret }}
- name: KAFKA_SASL_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}}
{{- end }}
{{- end }}
{{- range $name, $place := $root.Values.secretConfig }}
- name: {{ $name }}
  valueFrom: {secretKeyRef: {name: {{ $place.name }}, key: {{ $place.key }}}}
{{- end }}
{{- end }}

{{- define "radar.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .Values.kafka.ca.secret }}
- {name: kafka-ca, mountPath: /certs/kafka-ca, readOnly: true}
{{- end }}
{{- if .Values.kafka.client.secret }}
- {name: kafka-client, mountPath: /certs/kafka-client, readOnly: true}
{{- end }}
{{- if .Values.clickhouse.ca.secret }}
- {name: clickhouse-ca, mountPath: /certs/clickhouse-ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "radar.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- range $name, $secret := dict "kafka-ca" .Values.kafka.ca.secret "kafka-client" .Values.kafka.client.secret "clickhouse-ca" .Values.clickhouse.ca.secret }}
{{- if $secret }}
- name: {{ $name }}
  secret: {secretName: {{ $secret }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- end }}

{{- define "radar.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What is equal in all pods: rights, volumes, places. */}}
{{- define "radar.pod" -}}
serviceAccountName: {{ include "radar.name" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
volumes: {{ include "radar.volumes" .root | nindent 2 }}
{{- end }}

{{- define "radar.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: {{ .root.Values.topologyKey }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "radar.selector" . | nindent 8 }}
{{- end }}

{{/* A process of radar: `args`, `resources`, `user`, `env` (more of it) and `ports` (more of them). */}}
{{- define "radar.container" -}}
name: radar
image: {{ include "radar.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args: {{ toJson .args }}
envFrom:
  - configMapRef: {name: {{ include "radar.name" .root }}}
env:
  - name: POD_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  # The dashboard asks for the health of a pod by this name.
  - name: METRICS_HOSTS
    value: $(POD_NAME).{{ include "radar.name" .root }}-processes
  {{- include "radar.secrets" . | nindent 2 }}
  {{- with .env }}{{ toYaml . | nindent 2 }}{{ end }}
ports:
  - {name: metrics, containerPort: 9100}
  {{- with .ports }}{{ toYaml . | nindent 2 }}{{ end }}
# A process that waits for another server is alive and not ready: a restart would not help it.
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 15
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 5
securityContext: {{ include "radar.containerSecurity" . | nindent 2 }}
resources: {{ toYaml .resources | nindent 2 }}
volumeMounts: {{ include "radar.volumeMounts" .root | nindent 2 }}
{{- end }}

{{/* The template of the pods of a StatefulSet or a Deployment. */}}
{{- define "radar.template" -}}
metadata:
  labels: {{ include "radar.labels" . | nindent 4 }}
  annotations:
    # Pods are replaced when an option changes.
    checksum/config: {{ include "radar.options" .root | sha256sum }}
    {{- with .root.Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  {{- include "radar.pod" . | nindent 2 }}
  {{- include "radar.spread" . | nindent 2 }}
  # A producer publishes and a worker stores what it has within 20 seconds.
  terminationGracePeriodSeconds: 30
  containers:
    - {{- include "radar.container" . | nindent 6 }}
{{- end }}

{{- define "radar.statefulSet" -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ .name }}
  labels: {{ include "radar.labels" . | nindent 4 }}
spec:
  serviceName: {{ include "radar.name" .root }}-processes
  {{- if not .scaled }}
  replicas: {{ .replicas }}
  {{- end }}
  podManagementPolicy: Parallel
  updateStrategy: {type: RollingUpdate}
  selector:
    matchLabels: {{ include "radar.selector" . | nindent 6 }}
  template: {{ include "radar.template" . | nindent 4 }}
{{- end }}

{{- define "radar.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels: {{ include "radar.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{ include "radar.selector" . | nindent 6 }}
{{- end }}
