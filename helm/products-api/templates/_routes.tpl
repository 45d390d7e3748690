{{/* What the bundled gateway leads to: the names of the services, and the component that serves each. */}}
{{- define "products-api.upstreams" -}}
{auth: auth, catalog: catalog, sync: sync-api}
{{- end }}

{{/* The public paths and who serves them: the whole of what is reachable from outside. */}}
{{- define "products-api.routes" -}}
{{- if .Values.auth.enabled }}
- {component: auth, prefixes: [/auth], paths: [/.well-known/jwks.json]}
{{- end }}
{{- if .Values.catalog.enabled }}
- {component: catalog, prefixes: [/products, /docs], paths: [/, /problems, /favicon.ico, /redoc, /openapi.json, /health]}
{{- /* Other spellings, which are answered with the right one. In a rule of their own, since a rule has at most 8. */}}
- {component: catalog, prefixes: [], paths: [/redoc/, /openapi.json/, /health/]}
{{- end }}
{{- if .Values.sync.enabled }}
- {component: sync-api, prefixes: [/sync], paths: []}
{{- end }}
{{- end }}
