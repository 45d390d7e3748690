{{/*
A bundled server with one volume: Service and StatefulSet. dict root, component, values (image, storage, resources,
nodeSelector, tolerations), uid, port, container (the rest of the container), volumes.
Its pod template has nothing of the release's version, so that an upgrade of the product does not restart it.
*/}}
{{- define "products.store" }}
{{- $image := .values.image }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "service.metadata" . | nindent 2 }}
spec:
  selector:
    {{- include "service.selector" . | nindent 4 }}
  ports: [{name: {{ .component }}, port: {{ .port }}, targetPort: {{ .component }}}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "service.metadata" . | nindent 2 }}
spec:
  serviceName: {{ include "service.name" .root }}-{{ .component }}
  replicas: 1
  selector:
    matchLabels:
      {{- include "service.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "service.selector" . | nindent 8 }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext: {{ include "service.podSecurity" .uid }}
      {{- with .root.Values.global.imagePullSecrets }}
      imagePullSecrets: {{ toJson . }}
      {{- end }}
      {{- range $key := list "nodeSelector" "tolerations" }}
      {{- with get $.values $key }}
      {{ $key }}:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      terminationGracePeriodSeconds: 60
      containers:
        - name: {{ .component }}
          image: {{ $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag }}{{ end }}
          imagePullPolicy: {{ .root.Values.global.image.pullPolicy }}
          securityContext: {{ include "service.containerSecurity" true }}
          ports: [{name: {{ .component }}, containerPort: {{ .port }}}]
          resources: {{ toJson .values.resources }}
          {{- toYaml .container | nindent 10 }}
      volumes:
        - {name: tmp, emptyDir: {}}
        {{- with .volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumeClaimTemplates:
    - metadata:
        name: data
        labels:
          {{- include "service.selector" . | nindent 10 }}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .values.storage.className }}
        storageClassName: {{ . | quote }}
        {{- end }}
        resources: {requests: {storage: {{ .values.storage.size }}}}
{{- end }}
