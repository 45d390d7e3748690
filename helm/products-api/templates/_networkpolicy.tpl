{{/*
Rules that several components' policies share. A policy names our pods whether or not they are deployed: a selector
that finds none lets nobody through.
*/}}

{{/* Peers: our pods of the named components: list root, component... */}}
{{- define "products-api.peers" -}}
{{- range rest . }}
- podSelector:
    matchLabels:
      {{- include "products-api.selectorLabels" (dict "root" (first $) "component" .) | nindent 6 }}
{{- end }}
{{- end }}

{{/*
Egress to a component at a port: list root, component, port. Where it is not part of this release, to the peers and
the port in networkPolicy; no peers mean anywhere.
*/}}
{{- define "products-api.egress" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- if (get $root.Values $component).enabled }}
- ports: [{port: {{ index . 2 }}, protocol: TCP}]
  to:
    {{- include "products-api.peers" (list $root $component) | nindent 4 }}
{{- else }}
{{ include "products-api.egressElsewhere" (get $root.Values.networkPolicy $component) }}
{{- end }}
{{- end }}

{{/* Egress to what is not of this release: its port and peers. */}}
{{- define "products-api.egressElsewhere" -}}
{{- with . -}}
- ports: [{port: {{ .port }}, protocol: TCP}]
  {{- with .peers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Egress to the collector of spans, if there is one. */}}
{{- define "products-api.egressToCollector" -}}
{{- if .Values.global.settings.OTEL_EXPORTER_OTLP_ENDPOINT }}
{{ include "products-api.egressElsewhere" .Values.networkPolicy.tracing }}
{{- end }}
{{- end }}

{{/* Egress to DNS. */}}
{{- define "products-api.egressToDNS" -}}
{{- with .Values.networkPolicy.dns }}
- ports: [{port: 53, protocol: TCP}, {port: 53, protocol: UDP}]
  to:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{/* Egress of every process of a service: to PostgreSQL, Redis, the collector and DNS. */}}
{{- define "products-api.egressOfServices" -}}
{{ include "products-api.egress" (list . "postgres" 5432) }}
{{ include "products-api.egress" (list . "redis" 6379) }}
{{ include "products-api.egressToCollector" . }}
{{ include "products-api.egressToDNS" . }}
{{- end }}

{{/* Egress to where products go, and to sources: the stand-in, what is named, the internet but no private network. */}}
{{- define "products-api.egressToSources" -}}
{{- $external := .Values.networkPolicy.external }}
{{ include "products-api.egress" (list . "catalog" 8000) }}
- ports: [{port: 8080, protocol: TCP}]
  to:
    {{- include "products-api.peers" (list . "dummyjson") | nindent 4 }}
{{- with $external.ports }}
- ports:
    {{- range . }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  to:
    {{- with $external.peers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    - ipBlock: {cidr: 0.0.0.0/0, except: {{ toJson $external.except }}}
    - ipBlock: {cidr: "::/0", except: {{ toJson $external.exceptIPv6 }}}
{{- end }}
{{- end }}

{{/* Ingress to an API from its clients, which come by a gateway, and from `helm test`. */}}
{{- define "products-api.ingressFromClients" -}}
- ports: [{port: 8000, protocol: TCP}]
  from:
    {{- include "products-api.peers" (list . "gateway" "test") | nindent 4 }}
    {{- with .Values.networkPolicy.gateways }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* Ingress from Prometheus. */}}
{{- define "products-api.ingressFromPrometheus" -}}
{{- with .Values.networkPolicy.prometheus }}
- ports: [{port: 9100, protocol: TCP}]
  from:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}
