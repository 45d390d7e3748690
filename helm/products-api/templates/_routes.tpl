{{/* Names of all services, as JSON: components; apis, those that answer requests; migrations; passwords, keys of Secrets. */}}
{{- define "products-api.names" -}}
{{- $components := list }}{{ $apis := list }}{{ $migrations := list }}{{ $passwords := list -}}
{{- range $service, $it := .Files.Get "files/services.yaml" | fromYaml -}}
{{- $components = concat $components $it.components }}{{ $apis = append $apis (first $it.components) -}}
{{- $migrations = append $migrations (printf "migrate-%s" $service) -}}
{{- $passwords = append $passwords (printf "%s_DB_PASSWORD" (upper $service)) -}}
{{- end -}}
{{- dict "components" $components "apis" $apis "migrations" $migrations "passwords" $passwords | toJson -}}
{{- end }}

{{/* The public rules of the services that are deployed, each with the component that it leads to. */}}
{{- define "products-api.routes" -}}
{{- range $service, $it := .Files.Get "files/services.yaml" | fromYaml }}
{{- range (get $.Values $service).enabled | ternary $it.public list }}
- {{ set . "component" (first $it.components) | toJson }}
{{- end }}
{{- end }}
{{- end }}
