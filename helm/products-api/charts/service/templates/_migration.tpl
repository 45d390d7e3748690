{{/*
The Job that brings a service's schema to its newest revision, once for each revision of the release. Not a hook: a
hook would wait for a bundled database that is not there yet, or that `--wait` waits for. Pods are unready until the
schema is there; the Job waits for a late database, and any number of them may run at once.
*/}}
{{- define "service.migration" }}
{{- $component := printf "migrate-%s" .Chart.Name }}
{{- $own := dict "replicas" 1 "extraContainers" list "initContainers" list }}
{{- $process := mustMergeOverwrite (include "service.process" (dict "root" . "process" .Values.api) | fromJson) $own }}
{{- $pod := include "service.pod" (dict "root" . "component" $component "process" $process
  "args" (list "python" "-m" .Chart.Name "migrate")
  "environment" (include "service.environment" . | fromYamlArray)
  "configMap" (printf "%s-%s" (include "service.name" .) .Chart.Name)
  "checksum" (include "service.checksum" .)
  "ports" dict) }}
---
apiVersion: batch/v1
kind: Job
metadata:
  # A Job cannot be changed, so another spec is another Job.
  name: {{ include "service.name" . }}-{{ $component }}-{{ printf "%d %s" .Release.Revision $pod | sha256sum | trunc 8 }}
  labels:
    {{- include "service.labels" (dict "root" . "component" $component) | nindent 4 }}
spec:
  backoffLimit: 6
  template:
    {{- $pod | nindent 4 }}
{{- end }}
