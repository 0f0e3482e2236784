{{/* Names, labels and the questions that several templates ask. */}}

{{- define "offshoot.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "offshoot.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := include "offshoot.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* What a selector may use: it must never change. */}}
{{- define "offshoot.selector" -}}
app.kubernetes.io/name: {{ include "offshoot.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "offshoot.labels" -}}
{{ include "offshoot.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "offshoot.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The folder of the driver's socket on a node, and the socket. */}}
{{- define "offshoot.pluginDir" -}}
{{ .Values.kubeletDir }}/plugins/{{ .Values.driverName }}
{{- end }}

{{/* "true" when the controller services run in a StatefulSet of their own, so that Kubernetes attaches volumes. */}}
{{- define "offshoot.split" -}}
{{- if eq .Values.profile "single" }}true{{ end }}
{{- end }}

{{/* "true" when snapshots are served. */}}
{{- define "offshoot.snapshots" -}}
{{- $wanted := .Values.snapshots.enabled | toString }}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") (.Capabilities.APIVersions.Has "snapshot.storage.k8s.io/v1")) }}true{{ end }}
{{- end }}

{{- define "offshoot.groupSnapshots" -}}
{{- if and (include "offshoot.snapshots" .) .Values.groupSnapshots.enabled }}true{{ end }}
{{- end }}

{{/* "true" when the driver of a node talks to the API. */}}
{{- define "offshoot.node.driverNeedsApi" -}}
{{- if or .Values.startupTaint.enabled .Values.node.preStop.enabled }}true{{ end }}
{{- end }}

{{/* "true" when anything in the node's pod talks to the API. */}}
{{- define "offshoot.node.needsApi" -}}
{{- if or (not (include "offshoot.split" .)) (include "offshoot.node.driverNeedsApi" .) }}true{{ end }}
{{- end }}

{{/* The user of every container that needs no root. The driver's socket is open to its group. */}}
{{- define "offshoot.user" -}}65532{{- end }}

{{/* For every container but the privileged one: what Pod Security "restricted" asks for, and a read-only root. */}}
{{- define "offshoot.restricted" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: {{ include "offshoot.user" . }}
runAsGroup: {{ include "offshoot.user" . }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The token of the pod's ServiceAccount, for those containers that mount it and no others. */}}
{{- define "offshoot.token.volume" -}}
- name: token
  projected:
    defaultMode: 0444
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
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
{{- end }}

{{- define "offshoot.token.mount" -}}
- name: token
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}

{{- define "offshoot.pod.common" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
