{{/* What the schema cannot say. Each message says what to do. */}}
{{- define "offshoot.checks" -}}
{{- if and .Values.groupSnapshots.enabled (include "offshoot.split" .) (not .Values.controller.privileged) }}
{{- fail "groupSnapshots.enabled needs controller.privileged=true in profile single: only a controller that sees the devices can tell that no member was written to while the group was cut" }}
{{- end }}
{{- if and .Values.groupSnapshots.enabled (not (include "offshoot.split" .)) (not .Values.node.nodeSelector) }}
{{- $nodes := (lookup "v1" "Node" "" "").items | default list }}
{{- if gt (len $nodes) 1 }}
{{- fail (printf "groupSnapshots.enabled in profile local is for one node, and the cluster has %d: no sidecar tells the nodes' groups apart, so another node would report a group as deleted that is still there. Set it to false, or choose one node with node.nodeSelector" (len $nodes)) }}
{{- end }}
{{- end }}
{{- $defaults := list }}
{{- range .Values.storageClasses }}{{ if .default }}{{ $defaults = append $defaults .name }}{{ end }}{{ end }}
{{- if gt (len $defaults) 1 }}
{{- fail (printf "storageClasses: only one can be the default class, not %s" (join ", " $defaults)) }}
{{- end }}
{{- $found := lookup "storage.k8s.io/v1" "CSIDriver" "" .Values.driverName }}
{{- if $found }}
{{- $attach := ne (include "offshoot.split" .) "" }}
{{- if ne (dig "spec" "attachRequired" true $found) $attach }}
{{- fail (printf "CSIDriver %s has attachRequired: %v, and profile %s needs %v; the API server does not let that be changed. Stop the pods that use its volumes, then: kubectl delete csidriver %s, and run this command again (docs/upgrade.md)" .Values.driverName (not $attach) .Values.profile $attach .Values.driverName) }}
{{- end }}
{{- end }}
{{- end }}
