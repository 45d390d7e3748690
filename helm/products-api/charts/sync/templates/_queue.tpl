{{/*
Workers by the depth of the queue, which the scheduler counts. With KEDA its metrics are asked directly, so neither
Redis' password nor Prometheus is needed; `external` is for a Prometheus adapter.
*/}}
{{- define "sync.scaledByQueue" }}
{{- $scaling := .process.autoscaling }}
{{- if eq $scaling.by "external" }}
{{- $metric := dict "name" $scaling.metric "selector" (dict "matchLabels" (dict "state" "queued" "namespace" .root.Release.Namespace)) }}
{{- $target := dict "type" "AverageValue" "averageValue" (toString $scaling.targetJobs) }}
{{- include "service.autoscaler" (merge (dict "metrics" (list (dict "type" "External" "external" (dict "metric" $metric "target" $target)))) .) }}
{{- else }}
{{- $metrics := dict "root" .root "component" "scheduler-metrics" }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "service.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {name: {{ include "service.name" .root }}-{{ .component }}}
  minReplicaCount: {{ $scaling.minReplicas }}
  maxReplicaCount: {{ $scaling.maxReplicas }}
  {{- with $scaling.behavior }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        {{- toYaml . | nindent 8 }}
  {{- end }}
  triggers:
    - type: metrics-api
      metadata:
        url: http://{{ include "service.name" .root }}-scheduler-metrics.{{ .root.Release.Namespace }}:9100/metrics
        format: prometheus
        valueLocation: products_sync_queue_jobs{state="queued"}
        targetValue: {{ $scaling.targetJobs | quote }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "service.metadata" $metrics | nindent 2 }}
spec:
  selector:
    {{- include "service.selector" (dict "root" .root "component" "scheduler") | nindent 4 }}
  ports: [{name: metrics, port: 9100, targetPort: metrics}]
{{- end }}
{{- end }}
