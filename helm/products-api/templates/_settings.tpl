{{/*
Settings are environment variables. A ConfigMap holds those that are no secrets, Secrets hold the others, and only the
kubelet joins a password with the rest of its URL.
*/}}

{{/* TRUSTED_PROXY_HOPS of the services: the bundled gateway passes on one address, whatever stands before it. */}}
{{- define "products-api.serviceHops" -}}
{{- max .Values.global.settings.TRUSTED_PROXY_HOPS (.Values.gateway.enabled | ternary 1 0) -}}
{{- end }}

{{/* The data of a service's ConfigMap: dict root, service. Empty settings are left out. */}}
{{- define "products-api.settings" -}}
{{- $name := include "products-api.fullname" .root }}
{{- $values := get .root.Values .service }}
{{- $data := dict "HOST" "0.0.0.0" "PORT" "8000" "METRICS_PORT" "9100" }}
{{- if ne .service "auth" }}{{ $_ := set $data "AUTH_URL" (printf "http://%s-auth:8000" $name) }}{{ end }}
{{- if eq .service "sync" }}
{{- $_ := set $data "CATALOG_URL" (printf "http://%s-catalog:8000" $name) }}
{{- if $values.provider.enabled }}
{{- $_ := set $data "EXTERNAL_API_URL" (printf "http://%s-dummyjson:8080/products" $name) }}
{{- end }}
{{- end }}
{{- range $key, $value := merge (dict) $values.settings .root.Values.global.settings }}
{{- $text := kindIs "string" $value | ternary $value (toJson $value) }}
{{- if $text }}{{ $_ := set $data $key $text }}{{ end }}
{{- end }}
{{- $_ := set $data "TRUSTED_PROXY_HOPS" (include "products-api.serviceHops" .root) }}
{{- toYaml $data }}
{{- end }}

{{/* URLs that were given whole and so may hold a password, the data of a service's Secret: dict root, service. */}}
{{- define "products-api.urls" -}}
{{- $values := get .root.Values .service -}}
{{- range $variable, $from := dict "DATABASE_URL" $values.database "REDIS_URL" .root.Values.global.redis -}}
{{- if and $from.url (not $from.existingSecret) }}
{{ $variable }}: {{ $from.url | quote }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* A variable from a key of a Secret: list variable, secret, key. */}}
{{- define "products-api.secretVariable" -}}
- name: {{ index . 0 }}
  valueFrom: {secretKeyRef: {name: {{ index . 1 | quote }}, key: {{ index . 2 | quote }}}}
{{- end }}

{{/* DATABASE_URL, with the password in a variable of its own where the URL does not come whole from a Secret. */}}
{{- define "products-api.databaseURL" -}}
{{- $name := include "products-api.fullname" .root }}
{{- $from := (get .root.Values .service).database }}
{{- if and $from.url $from.existingSecret }}
{{ include "products-api.secretVariable" (list "DATABASE_PASSWORD" $from.existingSecret ($from.key | default "password")) }}
- {name: DATABASE_URL, value: {{ $from.url | quote }}}
{{- else if $from.existingSecret }}
{{ include "products-api.secretVariable" (list "DATABASE_URL" $from.existingSecret ($from.key | default "DATABASE_URL")) }}
{{- else if $from.url }}
{{ include "products-api.secretVariable" (list "DATABASE_URL" (printf "%s-%s" $name .service) "DATABASE_URL") }}
{{- else }}
{{ include "products-api.secretVariable" (list "DATABASE_PASSWORD" (include "products-api.secretName" .root) (printf "%s_DB_PASSWORD" (upper .service))) }}
- {name: DATABASE_URL, value: "postgresql://{{ .service }}_svc:$(DATABASE_PASSWORD)@{{ $name }}-postgres:5432/products"}
{{- end }}
{{- end }}

{{/* REDIS_URL, likewise. */}}
{{- define "products-api.redisURL" -}}
{{- $name := include "products-api.fullname" .root }}
{{- $from := .root.Values.global.redis }}
{{- if and $from.url $from.existingSecret }}
{{ include "products-api.secretVariable" (list "REDIS_PASSWORD" $from.existingSecret ($from.key | default "REDIS_PASSWORD")) }}
- {name: REDIS_URL, value: {{ $from.url | quote }}}
{{- else if $from.existingSecret }}
{{ include "products-api.secretVariable" (list "REDIS_URL" $from.existingSecret ($from.key | default "REDIS_URL")) }}
{{- else if $from.url }}
{{ include "products-api.secretVariable" (list "REDIS_URL" (printf "%s-%s" $name .service) "REDIS_URL") }}
{{- else }}
{{ include "products-api.secretVariable" (list "REDIS_PASSWORD" (include "products-api.secretName" .root) "REDIS_PASSWORD") }}
- {name: REDIS_URL, value: "redis://:$(REDIS_PASSWORD)@{{ $name }}-redis:6379/0"}
{{- end }}
{{- end }}

{{/* The variables of a service that come from Secrets: dict root, service. */}}
{{- define "products-api.secretSettings" -}}
{{- $secret := include "products-api.secretName" .root }}
{{- include "products-api.databaseURL" . }}
{{- include "products-api.redisURL" . }}
{{- if eq .service "auth" }}
{{ include "products-api.secretVariable" (list "SECRET_KEY" $secret "SECRET_KEY") }}
{{- end }}
{{- if has .service (list "auth" "sync") }}
{{ include "products-api.secretVariable" (list "SYNC_CLIENT_SECRET" $secret "SYNC_CLIENT_SECRET") }}
{{- end }}
{{- range $variable, $from := (get .root.Values .service).settingsFrom }}
{{ include "products-api.secretVariable" (list $variable $from.name $from.key) }}
{{- end }}
{{- end }}

{{/*
Changes when a service's pods must be replaced: dict root, service. Generated secrets never change; given ones are
looked up where there is a cluster, and where there is none (Argo CD, Flux, `helm template`) configRevision stands for them.
*/}}
{{- define "products-api.checksum" -}}
{{- $values := get .root.Values .service -}}
{{- $revision := .root.Values.global.configRevision | default "" | toString -}}
{{- $given := list $revision (include "products-api.settings" .) (include "products-api.urls" .) -}}
{{- $secrets := compact (list .root.Values.global.existingSecret $values.database.existingSecret .root.Values.global.redis.existingSecret) -}}
{{- range $values.settingsFrom }}{{ $secrets = append $secrets .name }}{{ end -}}
{{- range $secrets -}}
{{- $given = append $given ((lookup "v1" "Secret" $.root.Release.Namespace .).data | default dict | toJson) -}}
{{- end -}}
{{- $given | toJson | sha256sum -}}
{{- end }}
