{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- /* The sidecar's container, the same in every mode. No startup probe: the kubelet would hold Ollama back until it passed. The
probes ask about the process and its configuration alone, never about Ollama, which starts after it. */ -}}
{{- define "o3-sidecar.container" -}}
name: o3
image: {{ include "o3-sidecar.image" (dict "root" . "image" .Values.image "tag" .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- if ne .Values.mode "standalone" }}
restartPolicy: Always
{{- end }}
args:
  - serve
  - --config.file=/etc/o3/config/o3.yaml
  {{- with .Values.extraArgs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
env:
  - name: O3_KUBERNETES_POD_UID
    valueFrom:
      fieldRef:
        fieldPath: metadata.uid
  {{- if .Values.web.tokenSecret.name }}
  - name: O3_WEB_TOKEN
    valueFrom:
      secretKeyRef:
        name: {{ .Values.web.tokenSecret.name }}
        key: {{ .Values.web.tokenSecret.key }}
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: o3-metrics
    containerPort: {{ int64 .Values.web.port }}
    protocol: TCP
livenessProbe:
  httpGet:
    path: /-/healthy
    port: o3-metrics
    scheme: {{ .Values.web.scheme }}
  periodSeconds: 15
  timeoutSeconds: 5
  failureThreshold: 4
readinessProbe:
  httpGet:
    path: /-/ready
    port: o3-metrics
    scheme: {{ .Values.web.scheme }}
  periodSeconds: 10
  timeoutSeconds: 5
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.containerSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: o3-config
    mountPath: /etc/o3/config
    readOnly: true
  - name: o3-presets
    mountPath: /etc/o3/presets
    readOnly: true
  - name: o3-token
    mountPath: /var/run/secrets/kubernetes.io/serviceaccount
    readOnly: true
  - name: o3-state
    mountPath: /var/lib/o3
  {{- if .Values.web.configSecret }}
  - name: o3-web
    mountPath: /etc/o3/web
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- /* The volumes of that container. ConfigMaps are mounted as whole folders: a subPath would never be brought up to date. The
token is a projected one, so that no other container of the pod gets it. */ -}}
{{- define "o3-sidecar.volumes" -}}
- name: o3-config
  configMap:
    name: {{ include "o3-sidecar.fullname" . }}-config
- name: o3-presets
  configMap:
    name: {{ .Values.presets.configMap.name }}
    optional: true
- name: o3-token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
- name: o3-state
  {{- if eq .Values.persistence.type "pvc" }}
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-state" (include "o3-sidecar.fullname" .)) .Values.persistence.existingClaim }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- if .Values.web.configSecret }}
- name: o3-web
  secret:
    secretName: {{ .Values.web.configSecret }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
