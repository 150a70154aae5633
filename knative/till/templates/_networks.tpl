{{/* Who may speak to whom, in the words of a NetworkPolicy. */}}

{{- define "till.dns" -}}
- to:
    - namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: {{ .Values.networkPolicy.dns.namespace }} } }
  ports: [{ protocol: UDP, port: 53 }, { protocol: TCP, port: 53 }]
{{- end }}

{{- define "till.networks" -}}
{{- range . }}
- ipBlock: { cidr: {{ . }} }
{{- else }}
- ipBlock: { cidr: 0.0.0.0/0 }
- ipBlock: { cidr: "::/0" }
{{- end }}
{{- end }}

{{- define "till.dataPlane" -}}
{{- range .Values.networkPolicy.dataPlaneNamespaces }}
- namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: {{ . }} } }
{{- end }}
{{- end }}
