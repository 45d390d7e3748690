{{/*
Everything of a process that runs on: Deployment, Service if it serves http, autoscaler, disruption budget.
dict root, component, process, and as for service.pod: args, image, environment, configMap, checksum, ports, probes;
service (type, annotations) if it is not a plain ClusterIP; scaler, the name of its autoscaler's template.
*/}}
{{- define "service.workload" }}
{{- $process := include "service.process" . | fromJson }}
{{- $pod := merge (dict "process" $process) . }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "service.metadata" . | nindent 2 }}
spec:
  {{- if not $process.autoscaling.enabled }}
  replicas: {{ $process.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  selector:
    matchLabels:
      {{- include "service.selector" . | nindent 6 }}
  template:
    {{- include "service.pod" $pod | nindent 4 }}
{{- if .ports.http }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "service.metadata" . | nindent 2 }}
  {{- with (.service).annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ (.service).type | default "ClusterIP" }}
  selector:
    {{- include "service.selector" . | nindent 4 }}
  ports: [{name: http, port: {{ .ports.http }}, targetPort: http, appProtocol: http}]
{{- end }}
{{- if $process.autoscaling.enabled }}
{{- include (.scaler | default "service.scaledByCPU") $pod }}
{{- end }}
{{- if $process.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "service.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ $process.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "service.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{/* A HorizontalPodAutoscaler: as for service.workload, with metrics. */}}
{{- define "service.autoscaler" }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "service.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ include "service.name" .root }}-{{ .component }}}
  minReplicas: {{ .process.autoscaling.minReplicas }}
  maxReplicas: {{ .process.autoscaling.maxReplicas }}
  metrics: {{ toJson .metrics }}
  {{- with .process.autoscaling.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "service.scaledByCPU" }}
{{- $target := dict "type" "Utilization" "averageUtilization" .process.autoscaling.targetCPU }}
{{- $metric := dict "type" "Resource" "resource" (dict "name" "cpu" "target" $target) }}
{{- include "service.autoscaler" (merge (dict "metrics" (list $metric)) .) }}
{{- end }}

{{/* Probes by HTTP on a named port: livez never asks another part, health says whether this one can work now. */}}
{{- define "service.probes" -}}
startupProbe: {httpGet: {path: /livez, port: {{ . }}}, periodSeconds: 1, timeoutSeconds: 3, failureThreshold: 90}
livenessProbe: {httpGet: {path: /livez, port: {{ . }}}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 3}
readinessProbe: {httpGet: {path: /health, port: {{ . }}}, periodSeconds: 2, timeoutSeconds: 3, failureThreshold: 2}
{{- end }}

{{/* A process of a service: dict root (of the service's chart), component, command, process. */}}
{{- define "service.run" }}
{{- $http := eq .command "serve" }}
{{- include "service.workload" (merge . (dict
  "args" (list "python" "-m" .root.Chart.Name .command)
  "environment" (include "service.environment" .root | fromYamlArray)
  "configMap" (printf "%s-%s" (include "service.name" .root) .root.Chart.Name)
  "checksum" (include "service.checksum" .root)
  "ports" ($http | ternary (dict "http" 8000 "metrics" 9100) (dict "metrics" 9100))
  "probes" (include "service.probes" ($http | ternary "http" "metrics") | fromYaml))) }}
{{- end }}
