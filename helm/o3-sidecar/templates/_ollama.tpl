{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /* Ollama's container in mode bundled. It runs as the same user as the sidecar, with everything it writes on volumes, so that
the whole pod satisfies the restricted Pod Security Standard. */ -}}
{{- define "o3-sidecar.ollama" -}}
name: ollama
image: {{ include "o3-sidecar.image" (dict "root" . "image" .Values.bundled.image "tag" "") | quote }}
imagePullPolicy: {{ .Values.bundled.image.pullPolicy }}
env:
  - name: HOME
    value: /models
  - name: OLLAMA_HOST
    value: 0.0.0.0:11434
  - name: OLLAMA_MODELS
    value: /models/models
  {{- with .Values.bundled.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: ollama
    containerPort: 11434
    protocol: TCP
livenessProbe:
  tcpSocket:
    port: ollama
  periodSeconds: 20
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /
    port: ollama
  periodSeconds: 10
  timeoutSeconds: 5
{{- with .Values.bundled.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  privileged: false
  capabilities:
    drop: [ALL]
  seccompProfile:
    type: RuntimeDefault
volumeMounts:
  - name: models
    mountPath: /models
  - name: tmp
    mountPath: /tmp
{{- end -}}
