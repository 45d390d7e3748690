{{/*
What pods have in common. Most of these take a dict: root; component; process, as "products-api.process" gives it; and
where needed service (whose settings it gets), env (more variables, as YAML), image (if it is not that of the services),
metrics (true: Prometheus scrapes it).
*/}}

{{/* The values of a process as JSON: list defaults, values that differ from them. */}}
{{- define "products-api.process" -}}
{{- mustMergeOverwrite (deepCopy (first .)) (last . | default dict) | toJson -}}
{{- end }}

{{/* The security context of a pod: the user id. Meets Pod Security Standard "restricted". */}}
{{- define "products-api.podSecurityContext" -}}
{runAsNonRoot: true, runAsUser: {{ . }}, runAsGroup: {{ . }}, fsGroup: {{ . }}, fsGroupChangePolicy: OnRootMismatch, seccompProfile: {type: RuntimeDefault}}
{{- end }}

{{/* The security context of a container: whether its root is read-only. */}}
{{- define "products-api.securityContext" -}}
{allowPrivilegeEscalation: false, readOnlyRootFilesystem: {{ . }}, capabilities: {drop: [ALL]}}
{{- end }}

{{/* Labels and annotations of a pod. */}}
{{- define "products-api.podMetadata" -}}
labels:
  {{- include "products-api.selectorLabels" . | nindent 2 }}
  {{- with mustMerge (dict) .process.podLabels .root.Values.global.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $annotations := dict }}
{{- if .service }}
{{- $_ := set $annotations "checksum/configuration" (include "products-api.checksum" .) }}
{{- end }}
{{- if and .metrics .root.Values.global.scrapeAnnotations }}
{{- $annotations = merge $annotations (dict "prometheus.io/scrape" "true" "prometheus.io/port" "9100" "prometheus.io/path" "/metrics") }}
{{- end }}
{{- with merge (dict) .process.podAnnotations $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The spec of a pod, all but its containers. */}}
{{- define "products-api.podSpec" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{ include "products-api.podSecurityContext" 65532 }}
{{- with .root.Values.global.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- range $key := list "serviceAccountName" "priorityClassName" "nodeSelector" "tolerations" "affinity" }}
{{- with get $.process $key }}
{{ $key }}: {{ toJson . }}
{{- end }}
{{- end }}
volumes: {{ concat (list (dict "name" "tmp" "emptyDir" (dict "sizeLimit" "64Mi"))) .process.extraVolumes | toJson }}
{{- end }}

{{/* An image of this project: list root, image (repository, tag, digest; an empty tag is that of global.image). */}}
{{- define "products-api.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $root.Values.global.image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $root.Values.global.image.tag | default $root.Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The container of ours, all but its name, arguments, ports, life cycle and probes. */}}
{{- define "products-api.container" -}}
image: {{ include "products-api.image" (list .root (.image | default .root.Values.global.image)) | quote }}
imagePullPolicy: {{ .root.Values.global.image.pullPolicy }}
securityContext: {{ include "products-api.securityContext" .process.readOnlyRootFilesystem }}
{{- $env := .env | default "[]" | fromYamlArray }}
{{- $envFrom := list }}
{{- if .service }}
{{- $env = concat (include "products-api.secretSettings" . | fromYamlArray) $env }}
{{- $envFrom = list (dict "configMapRef" (dict "name" (printf "%s-%s" (include "products-api.fullname" .root) .service))) }}
{{- end }}
{{- with concat $envFrom .process.extraEnvFrom }}
envFrom: {{ toJson . }}
{{- end }}
{{- /* What an operator gives wins. It must not stand beside ours: server-side apply refuses a name that is there twice. */}}
{{- $given := dict }}
{{- range .process.extraEnv }}{{ $_ := set $given .name true }}{{ end }}
{{- $kept := list }}
{{- range $env }}{{ if not (hasKey $given .name) }}{{ $kept = append $kept . }}{{ end }}{{ end }}
{{- with concat $kept .process.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources: {{ toJson .process.resources }}
volumeMounts: {{ concat (list (dict "name" "tmp" "mountPath" "/tmp")) .process.extraVolumeMounts | toJson }}
{{- end }}

{{/* A leaving pod serves on while gateways learn of it. The kubelet itself can wait since Kubernetes 1.30. */}}
{{- define "products-api.lifecycle" -}}
{{- if .process.preStopSeconds -}}
{{- if semverCompare ">=1.30-0" .root.Capabilities.KubeVersion.Version -}}
lifecycle: {preStop: {sleep: {seconds: {{ .process.preStopSeconds }}}}}
{{- else -}}
lifecycle: {preStop: {exec: {command: [sleep, {{ .process.preStopSeconds | quote }}]}}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Probes on a port of a service: livez asks no other part, health says whether this one can work now. */}}
{{- define "products-api.probes" -}}
startupProbe: {httpGet: {path: /livez, port: {{ . }}}, periodSeconds: 1, timeoutSeconds: 3, failureThreshold: 90}
livenessProbe: {httpGet: {path: /livez, port: {{ . }}}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 3}
readinessProbe: {httpGet: {path: /health, port: {{ . }}}, periodSeconds: 2, timeoutSeconds: 3, failureThreshold: 3}
{{- end }}
