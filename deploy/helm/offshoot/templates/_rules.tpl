{{/* What each part may do in the cluster, and in its own namespace. Take a dict: root, local. */}}

{{- define "offshoot.rules.provisioner" -}}
- apiGroups: [""]
  resources: [persistentvolumes]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, update]
- apiGroups: [storage.k8s.io]
  resources: [storageclasses, volumeattachments]
  verbs: [get, list, watch]
- apiGroups: [storage.k8s.io]
  resources: [volumeattributesclasses]
  verbs: [get]
{{- if not .local }}
- apiGroups: [""]
  resources: [nodes]
  verbs: [get, list, watch]
- apiGroups: [storage.k8s.io]
  resources: [csinodes]
  verbs: [get, list, watch]
{{- end }}
{{- if include "offshoot.snapshots" .root }}
- apiGroups: [snapshot.storage.k8s.io]
  resources: [volumesnapshots]
  verbs: [get, list, watch, update]
- apiGroups: [snapshot.storage.k8s.io]
  resources: [volumesnapshotcontents]
  verbs: [get]
{{- end }}
{{- end }}

{{- define "offshoot.rules.attacher" -}}
- apiGroups: [""]
  resources: [persistentvolumes]
  verbs: [get, list, watch, patch]
- apiGroups: [storage.k8s.io]
  resources: [csinodes]
  verbs: [get, list, watch]
- apiGroups: [storage.k8s.io]
  resources: [volumeattachments]
  verbs: [get, list, watch, patch]
- apiGroups: [storage.k8s.io]
  resources: [volumeattachments/status]
  verbs: [patch]
{{- end }}

{{- define "offshoot.rules.resizer" -}}
- apiGroups: [""]
  resources: [persistentvolumes]
  verbs: [get, list, watch, patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [persistentvolumeclaims/status]
  verbs: [patch]
- apiGroups: [storage.k8s.io]
  resources: [volumeattributesclasses]
  verbs: [get, list, watch]
{{- end }}

{{- define "offshoot.rules.snapshotter" -}}
{{- if include "offshoot.snapshots" .root -}}
- apiGroups: [snapshot.storage.k8s.io]
  resources: [volumesnapshotclasses]
  verbs: [get, list, watch]
- apiGroups: [snapshot.storage.k8s.io]
  resources: [volumesnapshotcontents]
  verbs: [get, list, watch, update, patch]
- apiGroups: [snapshot.storage.k8s.io]
  resources: [volumesnapshotcontents/status]
  verbs: [update, patch]
{{- if include "offshoot.groupSnapshots" .root }}
- apiGroups: [groupsnapshot.storage.k8s.io]
  resources: [volumegroupsnapshotclasses]
  verbs: [get, list, watch]
- apiGroups: [groupsnapshot.storage.k8s.io]
  resources: [volumegroupsnapshotcontents]
  verbs: [get, list, watch, update, patch]
- apiGroups: [groupsnapshot.storage.k8s.io]
  resources: [volumegroupsnapshotcontents/status]
  verbs: [update, patch]
{{- end }}
{{- end }}
{{- end }}

{{- define "offshoot.rules.events" -}}
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch, update]
{{- end }}

{{/* All sidecars that call the controller services. */}}
{{- define "offshoot.rules.controller" -}}
# csi-provisioner
{{ include "offshoot.rules.provisioner" . }}
{{- if not .local }}
# csi-attacher
{{ include "offshoot.rules.attacher" . }}
{{- end }}
# csi-resizer
{{ include "offshoot.rules.resizer" . }}
# csi-snapshotter
{{ include "offshoot.rules.snapshotter" . }}
# all of them
{{ include "offshoot.rules.events" . }}
{{- end }}

{{/* Within the namespace of the release. */}}
{{- define "offshoot.rules.capacity" -}}
- apiGroups: [storage.k8s.io]
  resources: [csistoragecapacities]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get]
{{- end }}

{{/* The driver of a node. */}}
{{- define "offshoot.rules.node" -}}
{{- if .Values.startupTaint.enabled }}
# The start-up taint is removed when the kubelet has written the driver into the CSINode.
- apiGroups: [""]
  resources: [nodes]
  verbs: [get, patch]
- apiGroups: [storage.k8s.io]
  resources: [csinodes]
  verbs: [get]
{{- end }}
{{- if .Values.node.preStop.enabled }}
# The PreStop hook waits for the volumes of a node that is drained.
{{- if not .Values.startupTaint.enabled }}
- apiGroups: [""]
  resources: [nodes]
  verbs: [get]
{{- end }}
- apiGroups: [storage.k8s.io]
  resources: [volumeattachments]
  verbs: [list]
{{- end }}
{{- end }}
