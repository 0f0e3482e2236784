{{/*
One sidecar's container. Takes a dict: root, name (its key in .Values.sidecars), container, socketDir (the folder of the
driver's socket in the pod), port (of its metrics), args, and env where it needs the pod's place.
*/}}
{{- define "offshoot.sidecar" -}}
{{- $v := .root.Values -}}
{{- $s := index $v.sidecars .name -}}
- name: {{ .container }}
  image: {{ $s.image.repository }}:{{ $s.image.tag }}
  imagePullPolicy: IfNotPresent
  args:
    - --csi-address={{ .socketDir }}/csi.sock
    - --http-endpoint=:{{ .port }}
    - --v={{ $v.sidecars.logLevel }}
    - --timeout={{ $v.sidecars.timeout }}
    - --retry-interval-max={{ $v.sidecars.retryIntervalMax }}
    - --kube-api-qps={{ $v.sidecars.kubeApiQps }}
    - --kube-api-burst={{ $v.sidecars.kubeApiBurst }}
    {{- range .args }}
    - {{ . }}
    {{- end }}
    {{- range $s.extraArgs }}
    - {{ . | quote }}
    {{- end }}
  {{- if .place }}
  env:
    - name: NODE_NAME
      valueFrom:
        fieldRef:
          fieldPath: spec.nodeName
    - name: NAMESPACE
      valueFrom:
        fieldRef:
          fieldPath: metadata.namespace
    - name: POD_NAME
      valueFrom:
        fieldRef:
          fieldPath: metadata.name
  {{- end }}
  ports:
    - name: {{ .container | trimPrefix "csi-" }}
      containerPort: {{ .port }}
  securityContext: {{- include "offshoot.restricted" .root | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  resources: {{- toYaml $s.resources | nindent 4 }}
  volumeMounts:
    - name: plugin-dir
      mountPath: {{ .socketDir }}
    {{- include "offshoot.token.mount" .root | nindent 4 }}
{{- end }}

{{/* The sidecars that call the controller services. Takes a dict: root, socketDir, local (they serve their node only). */}}
{{- define "offshoot.controllerSidecars" -}}
{{- $v := .root.Values -}}
{{- $common := dict "root" .root "socketDir" .socketDir -}}
{{- $snapshots := include "offshoot.snapshots" .root -}}
{{- $args := list "--extra-create-metadata" (printf "--default-fstype=%s" $v.defaultFsType) (printf "--worker-threads=%v" $v.sidecars.provisioner.workerThreads) -}}
{{- if $v.csiDriver.storageCapacity }}
{{- $args = concat $args (list "--enable-capacity" "--capacity-ownerref-level=1" (printf "--capacity-poll-interval=%s" $v.sidecars.provisioner.capacityPollInterval)) }}
{{- end }}
{{- if .local }}
{{- $args = concat $args (list "--node-deployment" "--strict-topology" "--immediate-topology=false") }}
{{- else }}
{{- $args = concat $args (list "--strict-topology") }}
{{- end }}
{{- if not $snapshots }}
{{- $args = append $args "--snapshot-orphan-sweep-interval=0" }}
{{- end }}
{{ include "offshoot.sidecar" (merge (dict "name" "provisioner" "container" "csi-provisioner" "port" 9811 "place" true "args" $args) $common) }}
{{- if not .local }}
{{ include "offshoot.sidecar" (merge (dict "name" "attacher" "container" "csi-attacher" "port" 9812 "args" (list (printf "--worker-threads=%v" $v.sidecars.attacher.workerThreads))) $common) }}
{{- end }}
{{ include "offshoot.sidecar" (merge (dict "name" "resizer" "container" "csi-resizer" "port" 9813 "args" (list (printf "--workers=%v" $v.sidecars.resizer.workerThreads) "--handle-volume-inuse-error=false")) $common) }}
{{- if $snapshots }}
{{- $args = list "--extra-create-metadata" (printf "--worker-threads=%v" $v.sidecars.snapshotter.workerThreads) }}
{{- if and .local (not (include "offshoot.groupSnapshots" .root)) }}
{{- $args = append $args "--node-deployment" }}
{{- end }}
{{- if not (include "offshoot.groupSnapshots" .root) }}
{{- $args = append $args "--feature-gates=CSIVolumeGroupSnapshot=false" }}
{{- end }}
{{ include "offshoot.sidecar" (merge (dict "name" "snapshotter" "container" "csi-snapshotter" "port" 9814 "place" true "args" $args) $common) }}
{{- end }}
{{- end }}

{{/* The two that the driver replaces. Take a dict: root, socketDir. */}}
{{- define "offshoot.registrar" -}}
{{- $v := .root.Values -}}
- name: node-driver-registrar
  image: {{ $v.sidecars.nodeDriverRegistrar.image.repository }}:{{ $v.sidecars.nodeDriverRegistrar.image.tag }}
  imagePullPolicy: IfNotPresent
  args:
    - --csi-address={{ .socketDir }}/csi.sock
    - --kubelet-registration-path={{ include "offshoot.pluginDir" .root }}/csi.sock
    - --http-endpoint=:9815
    - --v={{ $v.sidecars.logLevel }}
    {{- range $v.sidecars.nodeDriverRegistrar.extraArgs }}
    - {{ . | quote }}
    {{- end }}
  ports:
    - name: registrar
      containerPort: 9815
  livenessProbe:
    httpGet: {path: /healthz, port: registrar}
    initialDelaySeconds: 5
    timeoutSeconds: 5
  # Its socket lies in a folder of the kubelet's, which is root's.
  securityContext:
    allowPrivilegeEscalation: false
    capabilities:
      drop: [ALL]
    readOnlyRootFilesystem: true
    runAsUser: 0
    seccompProfile:
      type: RuntimeDefault
  terminationMessagePolicy: FallbackToLogsOnError
  resources: {{- toYaml $v.sidecars.nodeDriverRegistrar.resources | nindent 4 }}
  volumeMounts:
    - name: plugin-dir
      mountPath: {{ .socketDir }}
    - name: registration-dir
      mountPath: /registration
{{- end }}

{{- define "offshoot.livenessProbe" -}}
{{- $v := .root.Values -}}
- name: liveness-probe
  image: {{ $v.sidecars.livenessProbe.image.repository }}:{{ $v.sidecars.livenessProbe.image.tag }}
  imagePullPolicy: IfNotPresent
  args:
    - --csi-address={{ .socketDir }}/csi.sock
    - --http-endpoint=:9808
    - --probe-timeout=5s
    - --v={{ $v.sidecars.logLevel }}
    {{- range $v.sidecars.livenessProbe.extraArgs }}
    - {{ . | quote }}
    {{- end }}
  securityContext: {{- include "offshoot.restricted" .root | nindent 4 }}
  terminationMessagePolicy: FallbackToLogsOnError
  resources: {{- toYaml $v.sidecars.livenessProbe.resources | nindent 4 }}
  volumeMounts:
    - name: plugin-dir
      mountPath: {{ .socketDir }}
{{- end }}
