{{/* What all names begin with. */}}
{{- define "products-api.fullname" -}}
{{- $name := .Values.global.name | default .Release.Name -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]{0,34}[a-z0-9])?$" $name) -}}
{{- fail (printf "the name %q cannot begin the names of Services: at most 36 of a-z, 0-9 and -, a letter first; choose another release name or set global.name" $name) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{/* Labels that select the pods of a component: dict root, component. */}}
{{- define "products-api.selectorLabels" -}}
app.kubernetes.io/name: products-api
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of an object: dict root, component. */}}
{{- define "products-api.labels" -}}
{{ include "products-api.selectorLabels" . }}
app.kubernetes.io/part-of: products-api
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: products-api-{{ .root.Chart.Version }}
{{- with .root.Values.global.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Name and labels of an object: dict root, component. */}}
{{- define "products-api.metadata" -}}
name: {{ include "products-api.fullname" .root }}-{{ .component }}
labels:
  {{- include "products-api.labels" . | nindent 2 }}
{{- end }}

{{/* The Secret with generated or given secrets. */}}
{{- define "products-api.secretName" -}}
{{ .Values.global.existingSecret | default (printf "%s-secrets" (include "products-api.fullname" .)) }}
{{- end }}
