{{/* What no schema sees. Everything that is wrong is told in one message; included once, by the functions. */}}
{{- define "till.check" -}}
{{- $root := . -}}
{{- $wrong := list -}}
{{- with .Values.database -}}
  {{- if eq .kind "sqlite" -}}
    {{- $wrong = append $wrong "database.kind: sqlite is a file on one machine, and a function's pod has no machine of its own: each would have a ledger for itself, gone when it sleeps. Use postgres, and `till up` on a laptop" -}}
  {{- end -}}
  {{- if not .address }}{{ $wrong = append $wrong "database.address: say PostgreSQL's host:port" }}{{ end -}}
{{- end -}}
{{- if not .Values.kafka.bootstrapServers }}{{ $wrong = append $wrong "kafka.bootstrapServers: say Kafka's host:port" }}{{ end -}}
{{- if not .Values.auth.jwks }}{{ $wrong = append $wrong "auth.jwks: say the public keys of whoever signs the clients' tokens, as JSON" }}{{ end -}}
{{- if and (eq .Values.secrets.kind "external") (not .Values.secrets.external.storeName) -}}
  {{- $wrong = append $wrong "secrets.external.storeName: say which store has the secrets" -}}
{{- end -}}
{{- if eq .Values.ingress.kind "alb" -}}
  {{- if not .Values.ingress.domain }}{{ $wrong = append $wrong "ingress.domain: the functions are to be FUNCTION.DOMAIN" }}{{ end -}}
  {{- if not .Values.ingress.alb.certificateArn }}{{ $wrong = append $wrong "ingress.alb.certificateArn: say the certificate of *.DOMAIN" }}{{ end -}}
{{- end -}}
{{- $sinks := list -}}
{{- $topics := list -}}
{{- range include "till.documents" . | fromJsonArray -}}
  {{- if eq .kind "KafkaSink" }}{{ $topics = append $topics .spec.topic }}{{ else }}{{ $sinks = append $sinks (dig "spec" "sink" "ref" "name" "" .) }}{{ end -}}
{{- end -}}
{{- range $name, $function := .Values.functions -}}
  {{- $is := include "till.function" (dict "root" $root "function" $function) | fromJson -}}
  {{- if not (has $name $sinks) }}{{ $wrong = append $wrong (printf "functions.%s: no source in sources.yaml calls it, so nothing would wake it" $name) }}{{ end -}}
  {{- if not (has $name $topics) }}{{ $wrong = append $wrong (printf "functions.%s: sources.yaml has no KafkaSink for its topic" $name) }}{{ end -}}
  {{- if gt (int $is.scale.min) (int $is.scale.max) }}{{ $wrong = append $wrong (printf "functions.%s.scale: min is above max" $name) }}{{ end -}}
  {{- range $variable, $value := $is.variables -}}
    {{- if eq (toString $value) "" }}{{ $wrong = append $wrong (printf "functions.%s.variables.%s: say it; spin.toml tells what it is" $name $variable) }}{{ end -}}
    {{- if has $variable $is.secretVariables }}{{ $wrong = append $wrong (printf "functions.%s.variables.%s: it is among the secretVariables, too" $name $variable) }}{{ end -}}
  {{- end -}}
  {{- if eq $root.Values.secrets.kind "plain" -}}
    {{- range include "till.secretKeys" (dict "root" $root "function" $function) | fromJsonArray -}}
      {{- if not (dig $name . "" $root.Values.secrets.values) }}{{ $wrong = append $wrong (printf "secrets.values.%s.%s: say it, or let somebody else make the Secret (secrets.kind: existing)" $name .) }}{{ end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if and (eq .Values.secrets.kind "plain") (not (dig "bridge" "api-token" "" .Values.secrets.values)) -}}
  {{- $wrong = append $wrong "secrets.values.bridge.api-token: say it, or let somebody else make the Secret (secrets.kind: existing)" -}}
{{- end -}}
{{- range $name, $_ := .Values.secrets.values -}}
  {{- if not (or (eq $name "bridge") (hasKey $root.Values.functions $name)) }}{{ $wrong = append $wrong (printf "secrets.values.%s: there is no such function" $name) }}{{ end -}}
{{- end -}}
{{- with $wrong }}{{ fail (printf "\n\nThese values do not do:\n  - %s\n" (join "\n  - " .)) }}{{ end -}}
{{- end }}
