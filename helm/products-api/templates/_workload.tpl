{{/* What Deployments have in common; each takes the dict of "products-api.podSpec". */}}

{{/* The spec of a Deployment, all but its pods. */}}
{{- define "products-api.deploymentSpec" -}}
{{- if not (or .process.autoscaling.enabled (kindIs "invalid" .process.replicas)) -}}
replicas: {{ .process.replicas }}
{{ end -}}
revisionHistoryLimit: 3
strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
selector:
  matchLabels:
    {{- include "products-api.selectorLabels" . | nindent 4 }}
{{- end }}

{{/* The spec of a Deployment's pods, all but their containers. */}}
{{- define "products-api.deploymentPodSpec" -}}
{{ include "products-api.podSpec" . }}
terminationGracePeriodSeconds: {{ .process.terminationGracePeriodSeconds }}
{{- with .process.topologySpread }}
{{- if .enabled }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: {{ .topologyKey }}
    whenUnsatisfiable: {{ .whenUnsatisfiable }}
    labelSelector:
      matchLabels:
        {{- include "products-api.selectorLabels" $ | nindent 8 }}
{{- end }}
{{- end }}
{{- with .process.initContainers }}
initContainers: {{ toJson . }}
{{- end }}
{{- end }}

{{/* The containers that an operator adds beside ours. */}}
{{- define "products-api.extraContainers" -}}
{{- with .process.extraContainers }}{{ toYaml . }}{{ end }}
{{- end }}

{{/* Scales by CPU, where that is turned on. */}}
{{- define "products-api.autoscaler" }}
{{- with .process.autoscaling }}
{{- if .enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "products-api.metadata" $ | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ include "products-api.fullname" $.root }}-{{ $.component }}}
  minReplicas: {{ .minReplicas }}
  maxReplicas: {{ .maxReplicas }}
  metrics:
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ .targetCPU }}}}}
  {{- with .behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Bounds how many pods the drain of a node takes away, where that is turned on. */}}
{{- define "products-api.disruptionBudget" }}
{{- if .process.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "products-api.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .process.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "products-api.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end }}

{{/* The spec of a bundled server's pod, all but containers and volumes: list root, its values. */}}
{{- define "products-api.serverPodSpec" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{ include "products-api.podSecurityContext" 999 }}
{{- with (first .).Values.global.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with (last .).nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with (last .).tolerations }}
tolerations: {{ toJson . }}
{{- end }}
terminationGracePeriodSeconds: 60
{{- end }}

{{/* What the containers of bundled servers have in common: list root, its values. */}}
{{- define "products-api.serverContainer" -}}
{{- with (last .).image -}}
image: {{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}
imagePullPolicy: {{ (first .).Values.global.image.pullPolicy }}
securityContext: {{ include "products-api.securityContext" true }}
resources: {{ toJson (last .).resources }}
{{- end }}

{{/* The volume of a bundled server: list of its dict (root, component), storage (size, className). */}}
{{- define "products-api.volumeClaim" -}}
metadata:
  name: data
  labels:
    {{- include "products-api.selectorLabels" (first .) | nindent 4 }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with (last .).className }}
  storageClassName: {{ . | quote }}
  {{- end }}
  resources: {requests: {storage: {{ (last .).size }}}}
{{- end }}
