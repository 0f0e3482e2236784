{{/*
The driver's container. Takes a dict: root, mode (all, controller or node), endpoint, conf (values of node or controller).
Its settings are arguments, so that `kubectl get` shows them, but for the node's name, which only the pod knows.
*/}}
{{- define "offshoot.driver.head" -}}
{{- $v := .root.Values -}}
name: driver
image: {{ include "offshoot.image" .root }}
imagePullPolicy: {{ $v.image.pullPolicy }}
args:
  - serve
  - --endpoint=unix://{{ .endpoint }}
  - --mode={{ .mode }}
  - --driver-name={{ $v.driverName }}
  - --data-dir={{ $v.dataDir }}
  - --pool-reserve={{ $v.poolReserve }}
  - --default-fs-type={{ $v.defaultFsType }}
  - --metrics-address=0.0.0.0:9810
  - --log-format={{ $v.log.format }}
  - --log-level={{ $v.log.level }}
  {{- with $v.otlpEndpoint }}
  - --otlp-endpoint={{ . }}
  {{- end }}
  {{- if eq .mode "all" }}
  - --node-deployment
  {{- end }}
  {{- if ne .mode "controller" }}
  - --kubelet-dir={{ $v.kubeletDir }}
  - --max-volumes-per-node={{ $v.maxVolumesPerNode }}
  {{- if not $v.sidecars.nodeDriverRegistrar.enabled }}
  - --registration-dir={{ $v.kubeletDir }}/plugins_registry
  {{- end }}
  {{- if $v.startupTaint.enabled }}
  - --startup-taint={{ $v.startupTaint.key }}
  {{- end }}
  {{- end }}
  {{- range .conf.extraArgs }}
  - {{ . | quote }}
  {{- end }}
env:
  - name: OFFSHOOT_NODE_ID
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
  {{- with .conf.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: metrics
    containerPort: 9810
# While volumes are read from the data directory.
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 1
  failureThreshold: 120
livenessProbe:
  {{- if $v.sidecars.livenessProbe.enabled }}
  httpGet: {path: /healthz, port: 9808}
  {{- else }}
  httpGet: {path: /healthz, port: metrics}
  {{- end }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 5
terminationMessagePolicy: FallbackToLogsOnError
resources: {{- toYaml .conf.resources | nindent 2 }}
{{- end }}
