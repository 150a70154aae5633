{{/* What several templates say in the same words. */}}

{{- define "till.labels" -}}
app.kubernetes.io/name: till
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The labels of a pod: not the versions, which would make a new revision of a function that did not change. */}}
{{- define "till.podLabels" -}}
app.kubernetes.io/name: till
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
till.dev/part: {{ .part }}
{{- end }}

{{- define "till.image" -}}
{{- $image := .image -}}
{{- $tag := $image.tag | default .root.Chart.AppVersion -}}
{{ .root.Values.images.registry }}/{{ $image.name }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $tag }}{{ end }}
{{- end }}

{{- define "till.pullSecrets" -}}
{{- with .Values.images.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "till.securityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* A function with the defaults filled in, as JSON. */}}
{{- define "till.function" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.functionDefaults) (deepCopy (.function | default dict)) | toJson -}}
{{- end }}

{{/* The keys of a function's Secret, as a JSON list. */}}
{{- define "till.secretKeys" -}}
{{- $keys := list "bridge-token" "push-token" "database-url" -}}
{{- range (include "till.function" . | fromJson).secretVariables }}{{ $keys = append $keys (replace "_" "-" .) }}{{ end -}}
{{- toJson $keys -}}
{{- end }}

{{/* The documents of sources.yaml, as a JSON list. */}}
{{- define "till.documents" -}}
{{- $documents := list -}}
{{- range splitList "\n---" (.Files.Get "sources.yaml") }}{{ with fromYaml . }}{{ $documents = append $documents . }}{{ end }}{{ end -}}
{{- toJson $documents -}}
{{- end }}

{{- define "till.bridgeUrl" -}}
http://till-bridge.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:3001
{{- end }}

{{/* What sources.yaml takes from its environment. */}}
{{- define "till.sourcesEnvironment" -}}
- { name: KAFKA, value: {{ .Values.kafka.bootstrapServers | quote }} }
- { name: KAFKA_REPLICATION, value: {{ .Values.kafka.replication | quote }} }
- { name: KAFKA_TLS, value: {{ .Values.kafka.tls | quote }} }
- { name: KAFKA_SASL, value: {{ .Values.kafka.sasl | quote }} }
- { name: TILL_TOKENS, value: /etc/till/tokens }
{{- end }}
