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
{{- range $service, $it := .Files.Get "files/services.yaml" | fromYaml }}
{{- if (get $.Values $service).enabled }}
- {name: {{ upper $service }}, value: "http://{{ $name }}-{{ first $it.components }}:8000"}
{{- end }}
{{- end }}
{{- end }}
