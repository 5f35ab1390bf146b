{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /* Argument: root, and extra: annotations of this one object. */ -}}
{{- define "o3-sidecar.annotations" -}}
{{- with merge (dict) (.extra | default dict) .root.Values.commonAnnotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- /* Argument: root; name: the object's; of this one object: namespace, labels, extra (annotations). */ -}}
{{- define "o3-sidecar.metadata" -}}
name: {{ .name }}
namespace: {{ default (include "o3-sidecar.namespace" .root) .namespace }}
labels:
  {{- include "o3-sidecar.labels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with include "o3-sidecar.annotations" . }}
{{ . }}
{{- end }}
{{- end -}}

{{- /* Argument: root, and of: podMonitor or serviceMonitor; the end point without its port's name. */ -}}
{{- define "o3-sidecar.endpoint" -}}
{{- $m := index .root.Values .of -}}
path: /metrics
scheme: {{ lower .root.Values.web.scheme }}
{{- with $m.interval }}
interval: {{ . }}
{{- end }}
{{- with $m.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with $m.tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $m.basicAuth }}
basicAuth:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $m.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $m.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
