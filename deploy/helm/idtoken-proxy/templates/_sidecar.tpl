{{/* Of initContainers: it starts before the others, and ends after the app. As in deploy/kubernetes/deployment.yaml. */}}
{{- define "idtoken-proxy.container" -}}
{{- $own := index .Values "idtoken-proxy" -}}
name: idtoken-proxy
image: {{ $own.image | quote }}
args: [serve]
{{- with $own.project }}
env:
- {name: GOOGLE_CLOUD_PROJECT, value: {{ . | quote }}}
{{- end }}
restartPolicy: Always
volumeMounts:
- {name: idtoken-proxy, mountPath: /etc/idtoken-proxy, readOnly: true}
startupProbe:
  exec: {command: [idtoken-proxy, probe, startup]}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 45
readinessProbe:
  exec: {command: [idtoken-proxy, probe, readiness]}
  periodSeconds: 15
  timeoutSeconds: 5
livenessProbe:
  exec: {command: [idtoken-proxy, probe, liveness]}
  periodSeconds: 30
  timeoutSeconds: 5
resources: {{- toYaml $own.resources | nindent 2 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Of volumes. */}}
{{- define "idtoken-proxy.volume" -}}
name: idtoken-proxy
configMap: {name: {{ include "idtoken-proxy.name" . }}}
{{- end }}

{{/* A manifest of its own. A change is taken over without a restart. */}}
{{- define "idtoken-proxy.configmap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "idtoken-proxy.name" . }}
  namespace: {{ .Release.Namespace }}
data:
  proxy.yaml: |
    {{- toYaml (index .Values "idtoken-proxy").config | nindent 4 }}
{{- end }}

{{- define "idtoken-proxy.name" -}}
{{- printf "%s-idtoken-proxy" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}
