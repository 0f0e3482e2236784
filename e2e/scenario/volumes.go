package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"offshoot.dev/e2e/api"
)

// write puts random bytes in a file and says what they are.
func (t *T) write(pod, file string) string {
	return t.Shell(pod, fmt.Sprintf("head -c 8000000 /dev/urandom > %s; sync %s; sha256sum < %s", file, file, file))
}

// read says what is in a file now.
func (t *T) read(pod, file string) string { return t.Shell(pod, "sha256sum < "+file) }

// replaced: data outlives its pod, and belongs to a user who is not root.
func replaced(t *T) {
	t.Apply(claim{name: "data", size: "64Mi"}, pod{name: "first", claims: []string{"data"}, user: 1000})
	t.WaitRunning("first")
	written := t.write("first", "/data/file")
	t.Equal("owner of the file", t.Shell("first", "stat -c %u:%g /data/file"), "1000:1000")
	t.DeletePods("first")
	t.Apply(pod{name: "second", claims: []string{"data"}, user: 1000})
	t.WaitRunning("second")
	t.Equal("bytes in the second pod", t.read("second", "/data/file"), written)
}

// block: a raw device keeps its bytes too.
func block(t *T) {
	t.Apply(claim{name: "disk", size: "64Mi", block: true}, pod{name: "first", devices: []string{"disk"}})
	t.WaitRunning("first")
	t.Equal("size of the device", t.Shell("first", "blockdev --getsize64 /dev/disk"), "67108864")
	written := t.Shell("first", "head -c 4194304 /dev/urandom > /tmp/x; dd if=/tmp/x of=/dev/disk bs=1M conv=fsync 2>/dev/null; sha256sum < /tmp/x")
	t.DeletePods("first")
	t.Apply(pod{name: "second", devices: []string{"disk"}})
	t.WaitRunning("second")
	const sum = "head -c 4194304 /dev/disk | sha256sum"
	t.Equal("bytes in the second pod", t.Shell("second", sum), written)
	t.Apply(pod{name: "reader", devices: []string{"disk"}, readOnly: true})
	t.WaitRunning("reader")
	t.Equal("bytes in the pod that may only read", t.Shell("reader", sum), written)
	t.Equal("what happens when it writes", t.Shell("reader", "echo x > /dev/disk && echo written || echo refused"), "refused")
}

// ephemeral: a volume that belongs to its pod comes and goes with it.
func ephemeral(t *T) {
	t.Apply(pod{name: "scratch", ephemeral: []claim{{name: "space", size: "64Mi"}}})
	t.WaitRunning("scratch")
	t.write("scratch", "/space/file")
	volume := t.Get(t.core("persistentvolumeclaims", "scratch-space")).Text("spec.volumeName")
	t.DeletePods("scratch")
	t.Gone(t.core("persistentvolumeclaims", "scratch-space"))
	t.Gone("/api/v1/persistentvolumes/" + volume)
}

const snapshots = "snapshot.storage.k8s.io/v1"

// restored: a snapshot keeps what was there, and can become a larger volume.
func restored(t *T) {
	t.Apply(claim{name: "data", size: "64Mi"}, pod{name: "writer", claims: []string{"data"}})
	t.WaitRunning("writer")
	written := t.write("writer", "/data/file")
	t.Apply(snapshot{name: "before", claim: "data"})
	t.WaitFor(t.group(snapshots, "volumesnapshots", "before"), "status.readyToUse", "true")
	t.Shell("writer", "echo changed > /data/file; sync /data/file")
	t.Apply(claim{name: "copy", size: "160Mi", source: "VolumeSnapshot/before"}, pod{name: "reader", claims: []string{"copy"}})
	t.WaitRunning("reader")
	t.Equal("bytes in the restored volume", t.read("reader", "/copy/file"), written)
	t.largerThan("reader", "/copy", 100)
	t.Equal("the source", t.Shell("writer", "cat /data/file"), "changed")
	t.Delete(t.group(snapshots, "volumesnapshots", "before"))
}

// largerThan checks the size of a mounted filesystem, in MiB.
func (t *T) largerThan(pod, path string, size int) {
	t.Equal("room for "+fmt.Sprint(size)+" MiB in "+path, t.Shell(pod, fmt.Sprintf("[ $(df -m %s | tail -n 1 | awk '{print $2}') -gt %d ] && echo yes || df -m %s", path, size, path)), "yes")
}

// cloned: a volume made from another one in use.
func cloned(t *T) {
	t.Apply(claim{name: "data", size: "64Mi"}, pod{name: "writer", claims: []string{"data"}})
	t.WaitRunning("writer")
	written := t.write("writer", "/data/file")
	t.Apply(claim{name: "clone", size: "64Mi", source: "PersistentVolumeClaim/data"}, pod{name: "reader", claims: []string{"clone"}})
	t.WaitRunning("reader")
	t.Equal("bytes in the clone", t.read("reader", "/clone/file"), written)
	t.Shell("reader", "echo mine > /clone/file; sync /clone/file")
	t.Equal("bytes in the source", t.read("writer", "/data/file"), written)
}

const groups = "groupsnapshot.storage.k8s.io/v1"

// grouped: snapshots of two volumes at one moment.
func grouped(t *T) {
	const labels = "set: one"
	t.Apply(claim{name: "log", size: "64Mi", labels: labels}, claim{name: "table", size: "64Mi", labels: labels},
		pod{name: "writer", claims: []string{"log", "table"}})
	t.WaitRunning("writer")
	log, table := t.write("writer", "/log/file"), t.write("writer", "/table/file")
	t.Apply(yaml(`apiVersion: groupsnapshot.storage.k8s.io/v1
kind: VolumeGroupSnapshot
metadata: {name: both}
spec: {volumeGroupSnapshotClassName: offshoot, source: {selector: {matchLabels: {set: one}}}}
`))
	t.WaitFor(t.group(groups, "volumegroupsnapshots", "both"), "status.readyToUse", "true")
	members := map[string]string{}
	t.Eventually("snapshots of both claims", func() string {
		for _, member := range t.List(t.group(snapshots, "volumesnapshots")) {
			if member.Text("status.readyToUse") == "true" {
				members[t.sourceClaim(member)] = member.Name()
			}
		}
		if members["log"] == "" || members["table"] == "" {
			return fmt.Sprint(members)
		}
		return ""
	})
	t.Apply(claim{name: "log-copy", size: "64Mi", source: "VolumeSnapshot/" + members["log"]},
		claim{name: "table-copy", size: "64Mi", source: "VolumeSnapshot/" + members["table"]},
		pod{name: "reader", claims: []string{"log-copy", "table-copy"}})
	t.WaitRunning("reader")
	t.Equal("bytes in log", t.read("reader", "/log-copy/file"), log)
	t.Equal("bytes in table", t.read("reader", "/table-copy/file"), table)
	t.Delete(t.group(groups, "volumegroupsnapshots", "both"))
}

// sourceClaim finds the claim of a group's member by its volume: the snapshot-controller leaves the claim's name empty when it has
// not seen the volume yet.
func (t *T) sourceClaim(member api.Object) string {
	contents := t.Get("/apis/" + snapshots + "/volumesnapshotcontents/" + member.Text("status.boundVolumeSnapshotContentName"))
	for _, volume := range t.List("/api/v1/persistentvolumes") {
		if volume.Text("spec.csi.volumeHandle") == contents.Text("spec.source.volumeHandle") {
			return volume.Text("spec.claimRef.name")
		}
	}
	return ""
}

// expanded: a volume grows under a running pod.
func expanded(t *T) {
	t.Apply(claim{name: "data", size: "320Mi", class: "offshoot-xfs"}, pod{name: "writer", claims: []string{"data"}})
	t.WaitRunning("writer")
	written := t.write("writer", "/data/file")
	t.Must(t.API().Patch(t.Context, t.core("persistentvolumeclaims", "data"), `{"spec":{"resources":{"requests":{"storage":"800Mi"}}}}`))
	t.WaitFor(t.core("persistentvolumeclaims", "data"), "status.capacity.storage", "800Mi")
	t.largerThan("writer", "/data", 600)
	t.Equal("bytes after growing", t.read("writer", "/data/file"), written)
}

// singlePod: ReadWriteOncePod is one pod's; the second waits for the first to end.
func singlePod(t *T) {
	t.Apply(claim{name: "data", size: "64Mi", access: "ReadWriteOncePod"}, pod{name: "first", claims: []string{"data"}})
	t.WaitRunning("first")
	t.Apply(pod{name: "second", claims: []string{"data"}})
	t.WaitEvent("second", "FailedScheduling", "ReadWriteOncePod")
	t.Equal("phase of the second pod", t.Get(t.core("pods", "second")).Text("status.phase"), "Pending")
	t.DeletePods("first")
	t.WaitRunning("second")
}

// tooLarge: what the pool cannot hold is not scheduled, and the pod says why.
func tooLarge(t *T) {
	t.Apply(claim{name: "huge", size: "100Ti"}, pod{name: "hopeful", claims: []string{"huge"}})
	t.WaitEvent("hopeful", "FailedScheduling", "enough free storage")
	t.Equal("phase of the claim", t.Get(t.core("persistentvolumeclaims", "huge")).Text("status.phase"), "Pending")
}

// replicas: each replica of a StatefulSet has a volume of its own, and finds it again.
func replicas(t *T) {
	template := claim{size: "64Mi"}.spec()
	set := func(replicas int) fmt.Stringer {
		return yaml(fmt.Sprintf(`apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: %d
  serviceName: web
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: main, image: %q, imagePullPolicy: Never, command: [sh, -c, "hostname >> /data/name; %s"], volumeMounts: [{name: data, mountPath: /data}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: %s
`, replicas, Image, idle, template))
	}
	t.Apply(set(2))
	t.WaitRunning("web-0", "web-1")
	t.Apply(set(0))
	t.Gone(t.core("pods", "web-0"))
	t.Gone(t.core("pods", "web-1"))
	t.Apply(set(2))
	t.WaitRunning("web-0", "web-1")
	for _, name := range []string{"web-0", "web-1"} {
		t.Equal("what "+name+" wrote in both lives", t.Shell(name, "cat /data/name | tr '\\n' ' '"), name+" "+name)
	}
	t.Apply(set(0))
}

// attributesChanged: a VolumeAttributesClass reaches the device of a running pod.
func attributesChanged(t *T) {
	t.Apply(claim{name: "disk", size: "64Mi", block: true}, pod{name: "user", devices: []string{"disk"}})
	t.WaitRunning("user")
	volume := t.Get(t.core("persistentvolumeclaims", "disk")).Text("spec.volumeName")
	handle := t.Get("/api/v1/persistentvolumes/" + volume).Text("spec.csi.volumeHandle")
	t.Must(t.API().Patch(t.Context, t.core("persistentvolumeclaims", "disk"), `{"spec":{"volumeAttributesClassName":"offshoot-sequential"}}`))
	t.WaitFor(t.core("persistentvolumeclaims", "disk"), "status.currentVolumeAttributesClassName", "offshoot-sequential")
	t.Eventually("read-ahead of the device", func() string {
		if got := readAhead(handle); got != "4096" {
			return got
		}
		return ""
	})
}

// readAhead is that of the loop device of a volume, in KiB.
func readAhead(handle string) string {
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range files {
		behind, _ := os.ReadFile(file)
		if filepath.Base(strings.TrimSpace(string(behind))) == handle {
			value, _ := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(file)), "queue/read_ahead_kb"))
			return strings.TrimSpace(string(value))
		}
	}
	return "no loop device of " + handle
}
