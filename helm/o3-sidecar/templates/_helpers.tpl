{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /* Every template begins with this. What the values lack is taken from values.yaml, so that an upgrade with --reuse-values
from an older version, which did not have a key yet, renders. Maps that are handed through as they are stay as the user wrote
them: what he took out of them with null stays out. */ -}}
{{- define "o3-sidecar.init" -}}
{{- $given := .Values | default dict -}}
{{- $values := mergeOverwrite (.Files.Get "files/values.yaml" | fromYaml) (deepCopy $given) -}}
{{- range $key := list "resources" "containerSecurityContext" "podSecurityContext" -}}
{{- if hasKey $given $key -}}
{{- $_ := set $values $key (index $given $key) -}}
{{- end -}}
{{- end -}}
{{- if hasKey (get $given "bundled" | default dict) "resources" -}}
{{- $_ := set $values.bundled "resources" $given.bundled.resources -}}
{{- end -}}
{{- $_ := set . "Values" $values -}}
{{- include "o3-sidecar.validate" . -}}
{{- end -}}

{{- /* What the schema cannot say. */ -}}
{{- define "o3-sidecar.validate" -}}
{{- if and (eq .Values.mode "standalone") (not .Values.ollama.url) -}}
{{- fail "mode standalone watches an Ollama elsewhere: set ollama.url, e.g. http://ollama.ollama.svc:11434" -}}
{{- end -}}
{{- if and (ne .Values.mode "standalone") .Values.ollama.url -}}
{{- fail (printf "mode %s watches the Ollama of its own pod: leave ollama.url out, or set mode: standalone" .Values.mode) -}}
{{- end -}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled -}}
{{- fail "podMonitor and serviceMonitor would scrape the same pods twice: enable one of them" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.enabled) -}}
{{- fail "a ServiceMonitor needs the Service: set service.enabled, or use podMonitor" -}}
{{- end -}}
{{- $owned := dict "ollama.url" "ollama.url" "web.listen" "web.port" "web.config_file" "web.configSecret" "web.token" "web.tokenSecret" "publish.configmap" "presets.configMap.name" "publish.mounted" "presets.configMap.name" "results.path" "persistence" -}}
{{- range $key, $value := $owned -}}
{{- $path := splitList "." $key -}}
{{- if hasKey (dig (first $path) dict $.Values.config) (last $path) -}}
{{- fail (printf "config.%s: the chart sets this key; use the value %s" $key $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "o3-sidecar.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* 40 characters leave room for the suffixes of the objects; names of Services have no dots. */ -}}
{{- define "o3-sidecar.fullname" -}}
{{- $name := include "o3-sidecar.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "o3-sidecar.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "o3-sidecar.selectorLabels" -}}
app.kubernetes.io/name: {{ include "o3-sidecar.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: sidecar
{{- end -}}

{{- define "o3-sidecar.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "o3-sidecar.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: o3-sidecar
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "o3-sidecar.serviceAccountName" -}}
{{- if eq .Values.mode "attach" -}}
{{- .Values.attach.serviceAccountName -}}
{{- else if .Values.serviceAccount.create -}}
{{- default (include "o3-sidecar.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- /* Labels of the pods that hold the sidecar. */ -}}
{{- define "o3-sidecar.podSelector" -}}
{{- if eq .Values.mode "attach" -}}
{{- toYaml .Values.attach.podSelector -}}
{{- else -}}
{{- include "o3-sidecar.selectorLabels" . -}}
{{- end -}}
{{- end -}}

{{- /* Argument: root, the map image, and tag: for an image without one. */ -}}
{{- define "o3-sidecar.image" -}}
{{- if .image.registry -}}
{{- .image.registry -}}/
{{- end -}}
{{- .image.repository -}}
{{- if .image.digest -}}
@{{ .image.digest }}
{{- else -}}
:{{ default .tag .image.tag }}
{{- end -}}
{{- end -}}

{{- /* The file o3.yaml: what the chart decides, and the user's keys. */ -}}
{{- define "o3-sidecar.config" -}}
{{- $config := dict
  "ollama" (dict "url" (default "http://127.0.0.1:11434" .Values.ollama.url))
  "web" (dict "listen" (printf "0.0.0.0:%d" (int .Values.web.port)))
  "publish" (dict "configmap" .Values.presets.configMap.name "mounted" "/etc/o3/presets" "state" (eq .Values.persistence.type "none"))
  "results" (dict "path" "/var/lib/o3/o3_results")
-}}
{{- if .Values.web.configSecret -}}
{{- $_ := set $config.web "config_file" "/etc/o3/web/web-config.yaml" -}}
{{- end -}}
{{- toYaml (mergeOverwrite $config (deepCopy .Values.config)) -}}
{{- end -}}

{{- /* Of the pod of `helm test`: another name than the workload's, whose selector must not find it. */ -}}
{{- define "o3-sidecar.testLabels" -}}
app.kubernetes.io/name: {{ include "o3-sidecar.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "o3-sidecar.ollamaUrlPort" -}}
{{- $url := urlParse .Values.ollama.url -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- if $port -}}
{{- $port -}}
{{- else if eq $url.scheme "https" -}}
443
{{- else -}}
80
{{- end -}}
{{- end -}}
