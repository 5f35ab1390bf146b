{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{- define "ollama.name" -}}
{{ .Chart.Name }}
{{- end -}}
{{- define "ollama.fullname" -}}
{{ contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) }}
{{- end -}}
{{- define "ollama.serviceAccountName" -}}
{{ default (.Values.serviceAccount.create | ternary (include "ollama.fullname" .) "default") .Values.serviceAccount.name }}
{{- end -}}
{{- define "ollama.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ollama.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
