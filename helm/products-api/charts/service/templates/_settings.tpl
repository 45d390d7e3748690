{{/*
Settings as environment variables. What is no secret is in a ConfigMap; secrets stay in Secrets, and only the
kubelet puts them together with the rest of a URL.
*/}}

{{/* All settings of a service that are no secrets, as YAML: its own win over the global ones. */}}
{{- define "service.settings" -}}
{{- $name := include "service.name" . -}}
{{- $own := dict "HOST" "0.0.0.0" "PORT" "8000" "METRICS_PORT" "9100" -}}
{{- if ne .Chart.Name "auth" }}{{ $_ := set $own "AUTH_URL" (printf "http://%s-auth:8000" $name) }}{{ end -}}
{{- if eq .Chart.Name "sync" }}{{ $_ := set $own "CATALOG_URL" (printf "http://%s-catalog:8000" $name) }}{{ end -}}
{{- range $settings := list .Values.global.settings .Values.settings -}}
{{- range $key, $value := $settings -}}
{{- $text := kindIs "string" $value | ternary $value (toJson $value) -}}
{{- if $text }}{{ $_ := set $own $key $text }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and (.Values.provider).enabled (not .Values.settings.EXTERNAL_API_URL) -}}
{{- $_ := set $own "EXTERNAL_API_URL" (printf "http://%s-provider:8080/products" $name) -}}
{{- end -}}
{{- toYaml $own -}}
{{- end }}

{{/* The ConfigMap of a service, and a Secret for what was given as a plain URL. */}}
{{- define "service.configuration" }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "service.metadata" (dict "root" . "component" .Chart.Name) | nindent 2 }}
data:
  {{- include "service.settings" . | nindent 2 }}
{{- $urls := include "service.urls" . | fromYaml }}
{{- if $urls }}
---
apiVersion: v1
kind: Secret
metadata:
  {{- include "service.metadata" (dict "root" . "component" .Chart.Name) | nindent 2 }}
stringData:
  {{- toYaml $urls | nindent 2 }}
{{- end }}
{{- end }}

{{/* URLs that were given whole: they may hold a password, so they go through a Secret. */}}
{{- define "service.urls" -}}
{{- range $variable, $from := dict "DATABASE_URL" .Values.database "REDIS_URL" .Values.global.redis -}}
{{- if and $from.url (not $from.existingSecret) }}
{{ $variable }}: {{ $from.url | quote }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* One variable out of a Secret: dict variable, name, key. */}}
{{- define "service.fromSecret" -}}
- name: {{ .variable }}
  valueFrom: {secretKeyRef: {name: {{ .name | quote }}, key: {{ .key | quote }}}}
{{ end }}

{{/*
DATABASE_URL or REDIS_URL: dict root, variable, from (url, existingSecret, key), password (the name of its variable),
givenKey (the default key of a password), bundledKey and bundledUrl for the bundled server.
*/}}
{{- define "service.url" -}}
{{- $secret := include "service.secret" .root -}}
{{- if and .from.url .from.existingSecret -}}
{{ include "service.fromSecret" (dict "variable" .password "name" .from.existingSecret "key" (.from.key | default .givenKey)) -}}
- {name: {{ .variable }}, value: {{ .from.url | quote }}}
{{- else if .from.existingSecret -}}
{{ include "service.fromSecret" (dict "variable" .variable "name" .from.existingSecret "key" (.from.key | default .variable)) }}
{{- else if .from.url -}}
{{ include "service.fromSecret" (dict "variable" .variable "name" (printf "%s-%s" (include "service.name" .root) .root.Chart.Name) "key" .variable) }}
{{- else -}}
{{ include "service.fromSecret" (dict "variable" .password "name" $secret "key" .bundledKey) -}}
- {name: {{ .variable }}, value: {{ .bundledUrl | quote }}}
{{- end -}}
{{- end }}

{{/* The secret environment of a service. */}}
{{- define "service.environment" -}}
{{- $root := . -}}
{{- $name := include "service.name" . -}}
{{ include "service.url" (dict "root" . "variable" "DATABASE_URL" "from" .Values.database "password" "DATABASE_PASSWORD" "givenKey" "password"
  "bundledKey" (printf "%s_DB_PASSWORD" (upper .Chart.Name))
  "bundledUrl" (printf "postgresql://%s_svc:$(DATABASE_PASSWORD)@%s-postgres:5432/products" .Chart.Name $name)) }}
{{ include "service.url" (dict "root" . "variable" "REDIS_URL" "from" .Values.global.redis "password" "REDIS_PASSWORD" "givenKey" "REDIS_PASSWORD"
  "bundledKey" "REDIS_PASSWORD" "bundledUrl" (printf "redis://:$(REDIS_PASSWORD)@%s-redis:6379/0" $name)) }}
{{ range get (dict "auth" (list "SECRET_KEY" "SYNC_CLIENT_SECRET") "catalog" list "sync" (list "SYNC_CLIENT_SECRET")) .Chart.Name -}}
{{ include "service.fromSecret" (dict "variable" . "name" (include "service.secret" $root) "key" .) }}
{{- end -}}
{{ range $variable, $from := .Values.settingsFrom -}}
{{ include "service.fromSecret" (dict "variable" $variable "name" $from.name "key" $from.key) }}
{{- end -}}
{{- end }}

{{/*
Changes when a pod must be replaced. Generated secrets never change; given ones are looked up, which needs a cluster
(`helm template` sees none).
*/}}
{{- define "service.checksum" -}}
{{- $given := list (include "service.settings" .) (include "service.urls" .) -}}
{{- range compact (list .Values.global.existingSecret .Values.database.existingSecret .Values.global.redis.existingSecret) -}}
{{- $given = append $given ((lookup "v1" "Secret" $.Release.Namespace .).data | default dict | toJson) -}}
{{- end -}}
{{- range .Values.settingsFrom -}}
{{- $given = append $given ((lookup "v1" "Secret" $.Release.Namespace .name).data | default dict | toJson) -}}
{{- end -}}
{{- $given | toJson | sha256sum -}}
{{- end }}
