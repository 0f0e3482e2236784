package scenario

import (
	"cmp"
	"fmt"
	"strings"
)

// claim is a PersistentVolumeClaim.
type claim struct {
	name, size string
	class      string // "offshoot" where it is empty
	access     string // ReadWriteOnce where it is empty
	block      bool
	source     string // "VolumeSnapshot/name" or "PersistentVolumeClaim/name"
	attributes string // a VolumeAttributesClass
	labels     string // "key: value"
}

func (c claim) String() string {
	return fmt.Sprintf("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: %s, labels: {%s}}\nspec: %s\n", c.name, c.labels, c.spec())
}

func (c claim) spec() string {
	fields := []string{
		"storageClassName: " + cmp.Or(c.class, "offshoot"),
		"accessModes: [" + cmp.Or(c.access, "ReadWriteOnce") + "]",
		"resources: {requests: {storage: " + c.size + "}}",
	}
	if c.block {
		fields = append(fields, "volumeMode: Block")
	}
	if kind, name, found := strings.Cut(c.source, "/"); found {
		group := ""
		if kind == "VolumeSnapshot" {
			group = "apiGroup: snapshot.storage.k8s.io, "
		}
		fields = append(fields, fmt.Sprintf("dataSource: {%skind: %s, name: %s}", group, kind, name))
	}
	if c.attributes != "" {
		fields = append(fields, "volumeAttributesClassName: "+c.attributes)
	}
	return "{" + strings.Join(fields, ", ") + "}"
}

// pod has one container that runs a script, by default nothing until it is stopped. Its volumes are at /NAME, raw ones at /dev/NAME.
type pod struct {
	name      string
	claims    []string // names of claims
	devices   []string // names of claims with raw block volumes
	readOnly  bool     // its raw block volumes
	ephemeral []claim  // generic ephemeral volumes
	script    string
	user      int // with its group; root where it is 0
}

// Image is what the pods run.
const Image = "localhost/busybox:e2e"

const idle = "trap exit TERM; while :; do sleep 1; done"

func (p pod) String() string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: %s\n", p.name, p.spec())
}

func (p pod) spec() string {
	var volumes, mounts, devices []string
	for _, name := range p.claims {
		volumes = append(volumes, fmt.Sprintf("{name: %s, persistentVolumeClaim: {claimName: %s}}", name, name))
		mounts = append(mounts, fmt.Sprintf("{name: %s, mountPath: /%s}", name, name))
	}
	for _, name := range p.devices {
		volumes = append(volumes, fmt.Sprintf("{name: %s, persistentVolumeClaim: {claimName: %s, readOnly: %t}}", name, name, p.readOnly))
		devices = append(devices, fmt.Sprintf("{name: %s, devicePath: /dev/%s}", name, name))
	}
	for _, c := range p.ephemeral {
		volumes = append(volumes, fmt.Sprintf("{name: %s, ephemeral: {volumeClaimTemplate: {spec: %s}}}", c.name, c.spec()))
		mounts = append(mounts, fmt.Sprintf("{name: %s, mountPath: /%s}", c.name, c.name))
	}
	security := "{}"
	if p.user != 0 {
		security = fmt.Sprintf("{runAsUser: %d, runAsGroup: %d, fsGroup: %d, runAsNonRoot: true}", p.user, p.user, p.user)
	}
	return fmt.Sprintf(`
  terminationGracePeriodSeconds: 1
  securityContext: %s
  containers:
  - {name: main, image: %q, imagePullPolicy: Never, command: [sh, -c, %q], volumeMounts: [%s], volumeDevices: [%s]}
  volumes: [%s]`,
		security, Image, cmp.Or(p.script, idle), strings.Join(mounts, ", "), strings.Join(devices, ", "), strings.Join(volumes, ", "))
}

// snapshot is a VolumeSnapshot of a claim.
type snapshot struct{ name, claim string }

func (s snapshot) String() string {
	return fmt.Sprintf(`apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: %s}
spec: {volumeSnapshotClassName: offshoot, source: {persistentVolumeClaimName: %s}}
`, s.name, s.claim)
}

// yaml is any object as text.
type yaml string

func (y yaml) String() string { return string(y) }
