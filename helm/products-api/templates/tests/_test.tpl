{{/* Pods of `helm test`, one for each promise; they have a component in common, and so a NetworkPolicy. */}}

{{/* Name, labels and hook of a test's pod: list of its dict (root, component), the promise. */}}
{{- define "products-api.testMetadata" -}}
name: {{ include "products-api.fullname" (first .).root }}-test-{{ last . }}
labels:
  {{- include "products-api.labels" (first .) | nindent 2 }}
annotations:
  helm.sh/hook: test
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{/* Where the services are that this release has. */}}
{{- define "products-api.testEnvironment" -}}
{{- $name := include "products-api.fullname" . -}}
{{- if .Values.auth.enabled }}
- {name: AUTH, value: "http://{{ $name }}-auth:8000"}
{{- end }}
{{- if .Values.catalog.enabled }}
- {name: CATALOG, value: "http://{{ $name }}-catalog:8000"}
{{- end }}
{{- if .Values.sync.enabled }}
- {name: SYNC, value: "http://{{ $name }}-sync-api:8000"}
{{- end }}
{{- end }}
