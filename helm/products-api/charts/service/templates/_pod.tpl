{{/* The security context of a pod: the user id. Meets Pod Security Standard "restricted". */}}
{{- define "service.podSecurity" -}}
{runAsNonRoot: true, runAsUser: {{ . }}, runAsGroup: {{ . }}, fsGroup: {{ . }}, fsGroupChangePolicy: OnRootMismatch, seccompProfile: {type: RuntimeDefault}}
{{- end }}

{{/* The security context of a container: whether its root is read-only. */}}
{{- define "service.containerSecurity" -}}
{allowPrivilegeEscalation: false, readOnlyRootFilesystem: {{ . }}, capabilities: {drop: [ALL]}}
{{- end }}

{{/* The values of a process: dict root, process; what it does not say is as in global.process. */}}
{{- define "service.process" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.global.process) (.process | default dict) | toJson -}}
{{- end }}

{{- define "service.podAnnotations" -}}
{{- with .checksum }}
checksum/configuration: {{ . }}
{{- end }}
{{- if and .ports.metrics .root.Values.global.scrapeAnnotations }}
prometheus.io/scrape: "true"
prometheus.io/port: "9100"
prometheus.io/path: /metrics
{{- end }}
{{- with .process.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
The pod template of a process: dict root, component, process (complete), args, image, environment, configMap,
checksum, ports (name: number), probes. Every container of ours is made here, long-running or not.
*/}}
{{- define "service.pod" -}}
{{- $process := .process -}}
metadata:
  labels:
    {{- include "service.selector" . | nindent 4 }}
    {{- with mustMerge (dict) $process.podLabels .root.Values.global.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with include "service.podAnnotations" . | fromYaml }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext: {{ include "service.podSecurity" 65532 }}
  {{- with .root.Values.global.imagePullSecrets }}
  imagePullSecrets: {{ toJson . }}
  {{- end }}
  {{- range $key := list "serviceAccountName" "priorityClassName" "nodeSelector" "tolerations" "affinity" "initContainers" }}
  {{- with get $process $key }}
  {{ $key }}: {{ toJson . }}
  {{- end }}
  {{- end }}
  {{- if .ports }}
  terminationGracePeriodSeconds: {{ $process.terminationGracePeriodSeconds }}
  {{- with $process.topologySpread }}
  {{- if .enabled }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: {{ .topologyKey }}
      whenUnsatisfiable: {{ .whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "service.selector" $ | nindent 10 }}
  {{- end }}
  {{- end }}
  {{- else }}
  restartPolicy: OnFailure
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "service.image" . | quote }}
      imagePullPolicy: {{ .root.Values.global.image.pullPolicy }}
      {{- with .args }}
      args: {{ toJson . }}
      {{- end }}
      securityContext: {{ include "service.containerSecurity" $process.readOnlyRootFilesystem }}
      {{- with concat (.configMap | empty | ternary list (list (dict "configMapRef" (dict "name" .configMap)))) $process.extraEnvFrom }}
      envFrom: {{ toJson . }}
      {{- end }}
      {{- $own := list }}
      {{- $given := dict }}
      {{- range $process.extraEnv }}{{ $_ := set $given .name true }}{{ end }}
      {{- range .environment }}{{ if not (hasKey $given .name) }}{{ $own = append $own . }}{{ end }}{{ end }}
      {{- with concat $own $process.extraEnv }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .ports }}
      ports:
        {{- range $name, $number := . }}
        - {name: {{ $name }}, containerPort: {{ $number }}}
        {{- end }}
      {{- end }}
      {{- with .probes }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
      {{- if and .ports.http $process.preStopSeconds }}
      {{- /* The kubelet itself can wait since Kubernetes 1.30, without a process in the container. */}}
      {{- $exec := dict "exec" (dict "command" (list "sleep" (toString $process.preStopSeconds))) }}
      {{- $sleep := dict "sleep" (dict "seconds" $process.preStopSeconds) }}
      lifecycle: {preStop: {{ semverCompare ">=1.30-0" .root.Capabilities.KubeVersion.Version | ternary $sleep $exec | toJson }}}
      {{- end }}
      resources: {{ toJson $process.resources }}
      volumeMounts: {{ concat (list (dict "name" "tmp" "mountPath" "/tmp")) $process.extraVolumeMounts | toJson }}
    {{- with $process.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes: {{ concat (list (dict "name" "tmp" "emptyDir" dict)) $process.extraVolumes | toJson }}
{{- end }}
