package deploy

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// noProblems runs a check on every rendering.
func noProblems(t *testing.T, check func(*testing.T, Objects) []string) {
	t.Helper()
	for _, c := range Cases {
		t.Run(c.Name, func(t *testing.T) {
			for _, problem := range check(t, mustDecode(t, mustRender(t, c))) {
				t.Error(problem)
			}
		})
	}
}

// plant is a mistake, and a part of what a check must say about it.
type plant struct{ in, old, mistake, says string }

// found runs a check on renderings with planted mistakes.
func found(t *testing.T, check func(Objects) []string, plants []plant) {
	t.Helper()
	for _, p := range plants {
		t.Run(p.says, func(t *testing.T) {
			objects := mustDecode(t, planted(t, mustRender(t, caseNamed(t, p.in)), p.old, p.mistake))
			problems := check(objects)
			if !slices.ContainsFunc(problems, func(problem string) bool { return strings.Contains(problem, p.says) }) {
				t.Errorf("%q in place of %q is not found; only %q", p.mistake, p.old, problems)
			}
		})
	}
}

func TestNamesLeadSomewhere(t *testing.T) {
	noProblems(t, func(_ *testing.T, objects Objects) []string { return CheckReferences(objects) })
}

func TestNamesThatLeadNowhereAreFound(t *testing.T) {
	found(t, CheckReferences, []plant{
		{"local", "serviceAccountName: offshoot-node", "serviceAccountName: node", `no ServiceAccount "node"`},
		{"local", "kind: ClusterRole\n  name: offshoot-node", "kind: ClusterRole\n  name: offshoot", "no role offshoot"},
		{"local", "kind: Role\n  name: offshoot-node", "kind: Role\n  name: offshoot", "Role offshoot-node is bound to nobody"},
		{"local", "namespace: offshoot-system\n---", "namespace: default\n---", "no ServiceAccount default/offshoot-node"},
		{"local", "- name: token\n              mountPath", "- name: tokens\n              mountPath", "no volume tokens"},
		{"local", "- name: dev\n              mountPath: /dev", "- name: data-dir\n              mountPath: /dev", "volume dev is mounted by nobody"},
		{"single", "claimName: offshoot-controller-data", "claimName: offshoot-data", "no claim offshoot-data"},
		{"single", "volumeName: offshoot-system-", "volumeName: ", "do not name each other"},
		{"local", "containerPort: 9813", "containerPort: 9811", "both have port 9811"},
		{"local", "path: /readyz, port: metrics", "path: /readyz, port: health", "wants port health"},
		{"local", "port: 9810, targetPort: metrics", "port: 9810, targetPort: driver", "no container has port driver=9810"},
		{"single", "matchLabels:\n      app.kubernetes.io/name: offshoot\n      app.kubernetes.io/instance: offshoot\n      app.kubernetes.io/component: controller\n---",
			"matchLabels:\n      app.kubernetes.io/component: controllers\n---", "PodDisruptionBudget"},
		{"local-everything", "- port: resizer", "- port: resize", `reads port "resize"`},
		{"local-everything", "    - port: resizer\n      interval: 30s", "    - port: metrics\n      interval: 30s", `does not read port "resizer"`},
		{"local", "provisioner: offshoot.dev", "provisioner: offshoot.io", "StorageClass offshoot is of offshoot.io"},
		{"local-snapshots", "driver: offshoot.dev", "driver: offshoot.io", "VolumeSnapshotClass offshoot is of offshoot.io"},
		{"local", "--driver-name=offshoot.dev", "--driver-name=offshoot.io", "--driver-name is offshoot.io"},
		{"local", "attachRequired: false", "attachRequired: true", "attachRequired is true"},
		{"local", "storageClassName: offshoot", "storageClassName: standard", "no StorageClass standard"},
	})
}

func TestEverySocketIsTheSameEverywhere(t *testing.T) {
	noProblems(t, func(_ *testing.T, objects Objects) []string { return CheckSockets(objects) })
}

func TestSocketsThatDifferAreFound(t *testing.T) {
	found(t, CheckSockets, []plant{
		{"local", "--csi-address=/csi/csi.sock", "--csi-address=/csi/csi.socket", "connects to"},
		{"local", "mountPath: /csi", "mountPath: /run/csi", "the container's own /csi/csi.sock"},
		{"single", "--endpoint=unix:///csi/csi.sock", "--endpoint=unix:///tmp/csi.sock", "the container's own /tmp/csi.sock"},
		{"local", "hostPath: {path: /var/lib/kubelet/plugins/offshoot.dev", "hostPath: {path: /var/lib/kubelet/plugins/offshoot", "connects to"},
		{"local", "--endpoint=unix:///var/lib/kubelet/plugins/offshoot.dev/", "--endpoint=unix:///var/lib/kubelet/plugins/", "the socket is at"},
		{"local", "--registration-dir=/var/lib/kubelet/plugins_registry", "--registration-dir=/var/lib/kubelet/plugins", "registers at"},
		{"local", "            - --registration-dir=/var/lib/kubelet/plugins_registry\n", "", "nobody registers"},
		{"local-everything", "--kubelet-registration-path=/var", "--kubelet-registration-path=/run", "the registrar tells the kubelet"},
		{"local-everything", "hostPath: {path: /var/lib/kubelet/plugins_registry", "hostPath: {path: /var/lib/kubelet/plugins", "the registrar registers at"},
		{"local", "- pre-stop\n                  - --driver-name=offshoot.dev", "- pre-stop\n                  - --driver-name=offshoot.io", "the PreStop hook has another --driver-name"},
		{"local", "mountPropagation: Bidirectional", "mountPropagation: HostToContainer", "do not reach the host"},
		{"local", "hostPath: {path: /var/lib/kubelet, type", "hostPath: {path: /var/lib/k0s/kubelet, type", "the kubelet's directory"},
		{"local", "hostPath: {path: /var/lib/offshoot", "hostPath: {path: /var/lib/other", "the data directory"},
		{"local", "mountPath: /dev", "mountPath: /host/dev", "/dev is"},
	})
}

func TestNobodyHasMoreRightsThanHeNeeds(t *testing.T) {
	noProblems(t, func(_ *testing.T, objects Objects) []string {
		return append(CheckSecurity(objects), CheckRights(objects)...)
	})
}

func TestTooManyRightsAreFound(t *testing.T) {
	found(t, CheckSecurity, []plant{
		{"single", "drop: [ALL]", "drop: [NET_RAW]", "not restricted: unrestricted capabilities"},
		{"single", "runAsNonRoot: true", "runAsNonRoot: false", "not restricted: runAsNonRoot != true"},
		{"single", "persistentVolumeClaim:\n            claimName: offshoot-controller-data", "hostPath: {path: /var/lib/offshoot}", "not restricted: restricted volume types"},
		{"single", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "csi-attacher: may gain privileges"},
		{"local", "drop: [ALL]", "drop: [NET_RAW]", "csi-resizer: keeps capabilities"},
		{"local", "type: RuntimeDefault", "type: Unconfined", "csi-provisioner: any system call"},
		{"local", "runAsNonRoot: true", "runAsNonRoot: false", "csi-provisioner: may be root"},
		{"local", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "driver: may write to its image"},
		{"local", "automountServiceAccountToken: false", "automountServiceAccountToken: true", "every container gets the token"},
		{"single-without-token", "- name: kubelet-dir\n              mountPath: /var/lib/kubelet\n", "- name: token\n              mountPath: " + tokenPath + "\n            - name: kubelet-dir\n              mountPath: /var/lib/kubelet\n",
			"driver: has the token: true; needs it: false"},
		{"local", "priorityClassName: system-node-critical", "hostNetwork: true", "uses a namespace of the host"},
		{"local", "cpu: 10m", "cpu: 0", "no request of processor time"},
	})
	found(t, CheckRights, []plant{
		{"local", "resources: [events]", "resources: [secrets]", "too much: offshoot-node cluster secrets"},
		{"local", `verbs: [create, patch, update]`, `verbs: ["*"]`, "too much: offshoot-node cluster events"},
		{"single", "resources: [nodes]", "resources: [pods]", "too much: offshoot-controller cluster pods"},
	})
}

// What each token can do is reviewed as a text: go test -run Rights -update.
func TestRights(t *testing.T) {
	for _, c := range Cases {
		t.Run(c.Name, func(t *testing.T) {
			rights, file := Rights(mustDecode(t, mustRender(t, c))), "testdata/rights/"+c.Name+".txt"
			if *update {
				if err := os.WriteFile(file, []byte(rights), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			wanted, err := os.ReadFile(file)
			if err != nil || rights != string(wanted) {
				t.Errorf("the rights are not those of %s (%v):\n%s", file, err, rights)
			}
		})
	}
}

// image finds the version of a sidecar in a manifest.
var image = regexp.MustCompile(`image: \S+/(?:csi-)?([a-z-]+):(v\S+)`)

// programs gives the flags of every container's program, in the versions that the images have.
var programs = sync.OnceValues(func() (map[string][]string, error) {
	c := Case{Name: "versions", APIs: Snapshots, Values: "{profile: single, sidecars: {nodeDriverRegistrar: {enabled: true}, livenessProbe: {enabled: true}}}"}
	manifest, err := Render(c)
	if err != nil {
		return nil, err
	}
	known := map[string][]string{}
	for _, match := range image.FindAllStringSubmatch(manifest, -1) {
		name := map[string]string{"livenessprobe": "liveness-probe", "node-driver-registrar": "node-driver-registrar"}[match[1]]
		if name == "" {
			name = "csi-" + match[1]
		}
		if known[name], err = SidecarFlags(name, match[2]); err != nil {
			return nil, err
		}
	}
	return known, nil
})

func knownFlags(t *testing.T) func(string) []string {
	t.Helper()
	known, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]string{"driver": "serve", "pre-stop": "pre-stop"}
	flags := map[string][]string{}
	for name, subcommand := range own {
		if flags[name], err = DriverFlags(driverBinary(t), subcommand); err != nil {
			t.Fatal(err)
		}
	}
	return func(container string) []string {
		if own[container] != "" {
			return flags[container]
		}
		return known[container]
	}
}

func TestEveryFlagExists(t *testing.T) {
	known := knownFlags(t)
	if programs := len(sidecars) + len(written); known("csi-resizer") == nil || programs != 6 {
		t.Fatal("sidecars are missing")
	}
	noProblems(t, func(_ *testing.T, objects Objects) []string { return CheckFlags(objects, known) })
}

func TestFlagsThatDoNotExistAreFound(t *testing.T) {
	known := knownFlags(t)
	check := func(objects Objects) []string { return CheckFlags(objects, known) }
	found(t, check, []plant{
		{"local", "--data-dir=", "--data-directory=", "driver: it has no flag --data-directory"},
		{"local", "--node-deployment", "--node-deployments", "csi-provisioner: it has no flag --node-deployments"},
		{"local", "--workers=", "--worker-threads=", "csi-resizer: it has no flag --worker-threads"},
		{"single", "--worker-threads=", "--workers=", "csi-attacher: it has no flag --workers"},
		{"local-snapshots", "--retry-interval-max=", "--retry-interval-maximum=", "csi-snapshotter: it has no flag --retry-interval-maximum"},
		{"local", "--log-file=", "--log=", "driver: pre-stop has no flag --log"},
		{"single-snapshots", "=CSIVolumeGroupSnapshot=", "=VolumeGroupSnapshot=", "csi-snapshotter: it has no flag --feature-gates=VolumeGroupSnapshot"},
		{"local", "name: csi-resizer", "name: csi-expander", "csi-expander: its flags are unknown"},
	})
}

func TestTheDriverCanWhatTheChartPromises(t *testing.T) {
	binary := driverBinary(t)
	noProblems(t, func(t *testing.T, objects Objects) []string {
		can, err := Ask(binary, container(objects.drivers()[0], "driver").Args)
		if err != nil {
			t.Fatal(err)
		}
		return CheckAbilities(objects, can)
	})
}

func TestPromisesThatCannotBeKeptAreFound(t *testing.T) {
	full := &Abilities{
		Name: "offshoot.dev", plugin: []string{"VOLUME_ACCESSIBILITY_CONSTRAINTS"},
		controller: []string{"CREATE_DELETE_VOLUME", "PUBLISH_UNPUBLISH_VOLUME", "EXPAND_VOLUME", "CREATE_DELETE_SNAPSHOT", "GET_CAPACITY", "MODIFY_VOLUME", "SINGLE_NODE_MULTI_WRITER"},
		node:       []string{"SINGLE_NODE_MULTI_WRITER", "EXPAND_VOLUME"}, group: []string{"CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT"},
	}
	objects := mustDecode(t, mustRender(t, caseNamed(t, "single-privileged")))
	if problems := CheckAbilities(objects, full); len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, ability := range slices.Concat(full.plugin, full.controller, full.node, full.group) {
		without := *full
		for _, list := range []*[]string{&without.plugin, &without.controller, &without.node, &without.group} {
			*list = slices.DeleteFunc(slices.Clone(*list), func(it string) bool { return it == ability })
		}
		if problems := CheckAbilities(objects, &without); !slices.ContainsFunc(problems, func(it string) bool { return strings.Contains(it, ability) }) {
			t.Errorf("a driver without %s is not found; only %q", ability, problems)
		}
	}
	found(t, func(objects Objects) []string { return CheckAbilities(objects, full) }, []plant{
		{"local", "name: csi-resizer", "name: csi-expander", "nobody uses EXPAND_VOLUME"},
		{"local-snapshots", "name: csi-snapshotter", "name: csi-cutter", "without csi-snapshotter"},
		{"single", "name: csi-attacher", "name: csi-binder", "attachRequired is true"},
		{"local", "kind: CSIDriver\nmetadata:\n  name: offshoot.dev", "kind: CSIDriver\nmetadata:\n  name: offshoot.io", "the driver is called offshoot.dev"},
	})
}
