package deploy

import (
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// driverBinary is the driver that the tests ask; `make test-deploy` builds it.
func driverBinary(t *testing.T) string {
	t.Helper()
	if binary := os.Getenv("OFFSHOOT_BIN"); binary != "" {
		return binary
	}
	return "../../target/debug/offshoot"
}

func mustRender(t *testing.T, c Case) string {
	t.Helper()
	manifest, err := Render(c)
	if err != nil {
		t.Fatal(err)
	}
	return manifest
}

func mustDecode(t *testing.T, manifest string) Objects {
	t.Helper()
	objects, err := Decode(manifest)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func caseNamed(t *testing.T, name string) Case {
	t.Helper()
	at := slices.IndexFunc(Cases, func(c Case) bool { return c.Name == name })
	if at < 0 {
		t.Fatalf("no case %s", name)
	}
	return Cases[at]
}

func TestEveryRenderingIsWhatKubernetesKnows(t *testing.T) {
	for _, c := range Cases {
		t.Run(c.Name, func(t *testing.T) {
			objects := mustDecode(t, mustRender(t, c))
			if len(objects.drivers()) == 0 {
				t.Error("no driver")
			}
		})
	}
}

func TestStrictDecodingFindsPlantedMistakes(t *testing.T) {
	manifest := mustRender(t, caseNamed(t, "single-everything"))
	for _, plant := range [][2]string{
		{"seLinuxMount:", "seLinuxMounted:"},
		{"updateStrategy:", "updateStrategies:"},
		{"deletionPolicy:", "deletePolicy:"},
		{"podSelector:", "podSelectors:"},
		{"unhealthyPodEvictionPolicy:", "unhealthyEvictionPolicy:"},
		{"kind: ServiceMonitor", "kind: ServiceWatcher"},
		{"  podInfoOnMount: false\n", "  podInfoOnMount: false\n  podInfoOnMount: false\n"},
	} {
		if _, err := Decode(planted(t, manifest, plant[0], plant[1])); err == nil {
			t.Errorf("%s is decoded", plant[1])
		}
	}
}

// planted replaces what must be there, everywhere.
func planted(t *testing.T, manifest, old, mistake string) string {
	t.Helper()
	if !strings.Contains(manifest, old) {
		t.Fatalf("nothing to plant a mistake in: %q", old)
	}
	return strings.ReplaceAll(manifest, old, mistake)
}

func TestTheSchemaAcceptsItsOwnValues(t *testing.T) {
	values, err := chartValues()
	if err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	mustRender(t, Case{Name: "its own", Values: string(text)})
}

// Each of these is a mistake that somebody makes.
func TestTheSchemaRefuses(t *testing.T) {
	for _, c := range []struct{ values, says string }{
		{"{prfile: single}", "prfile"},
		{"{profile: cluster}", "profile"},
		{"{dataDir: data}", "dataDir"},
		{"{dataDir: /var/../etc}", "dataDir"},
		{"{kubeletDir: /}", "kubeletDir"},
		{"{driverName: -x}", "driverName"},
		{"{driverName: Offshoot.dev}", "driverName"},
		{"{poolReserve: 60}", "poolReserve"},
		{"{poolReserve: \"5\"}", "poolReserve"},
		{"{defaultFsType: zfs}", "defaultFsType"},
		{"{maxVolumesPerNode: -1}", "maxVolumesPerNode"},
		{"{image: {repository: \"\"}}", "repository"},
		{"{image: {tag: \"a b\"}}", "tag"},
		{"{image: {pullPolicy: Sometimes}}", "pullPolicy"},
		{"{log: {format: xml}}", "format"},
		{"{otlpEndpoint: collector}", "otlpEndpoint"},
		{"{otlpEndpoint: https://collector:4317}", "otlpEndpoint"},
		{"{csiDriver: {nodeAllocatableUpdatePeriodSeconds: 5}}", "nodeAllocatableUpdatePeriodSeconds"},
		{"{csiDriver: {attachRequired: true}}", "attachRequired"},
		{"{csiDriver: {fsGroupPolicy: Files}}", "fsGroupPolicy"},
		{"{storageClasses: [{fsType: xfs}]}", "name"},
		{"{storageClasses: [{name: a, parameters: {provisionning: thick}}]}", "provisionning"},
		{"{storageClasses: [{name: a, parameters: {provisioning: fat}}]}", "provisioning"},
		{"{storageClasses: [{name: a, volumeBindingMode: Immediate}]}", "volumeBindingMode"},
		{"{volumeAttributesClasses: [{name: a, parameters: {}}]}", "parameters"},
		{"{snapshots: {enabled: maybe}}", "enabled"},
		{"{snapshots: {classes: [{name: a, deletionPolicy: Keep}]}}", "deletionPolicy"},
		{"{node: {terminationGracePeriodSeconds: 10}}", "terminationGracePeriodSeconds"},
		{"{node: {maxUnavailable: 0}}", "maxUnavailable"},
		{"{node: {privileged: false}}", "privileged"},
		{"{controller: {replicas: 2}}", "replicas"},
		{"{sidecars: {provisioner: {image: {repository: x}, workers: 2}}}", "workers"},
		{"{sidecars: {timeout: 60}}", "timeout"},
		{"{sidecars: {externalHealthMonitor: {enabled: true}}}", "externalHealthMonitor"},
	} {
		_, err := Render(Case{Name: c.values, Values: c.values})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.values, err)
		}
	}
}

// What the schema cannot say is said by the templates, with what to do.
func TestTheChartRefuses(t *testing.T) {
	for _, c := range []struct{ values, says string }{
		{"{profile: single, snapshots: {enabled: true}, groupSnapshots: {enabled: true}}", "controller.privileged=true"},
		{"{storageClasses: [{name: a, default: true}, {name: b, default: true}]}", "only one can be the default class, not a, b"},
	} {
		_, err := Render(Case{Name: c.values, Values: c.values})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.values, err)
		}
	}
}

// cluster is one in which `lookup` finds objects.
type cluster struct{ dynamic.Interface }

func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	version, err := schema.ParseGroupVersion(apiVersion)
	return c.Resource(version.WithResource(strings.ToLower(kind) + "s")), false, err
}

// clusterOf is one with objects in it.
func clusterOf(objects ...runtime.Object) cluster {
	lists := map[schema.GroupVersionResource]string{{Version: "v1", Resource: "nodes"}: "NodeList"}
	return cluster{fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, objects...)}
}

func clusterWith(attachRequired bool) cluster {
	driver := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": map[string]any{"name": "offshoot.dev"},
		"spec": map[string]any{"attachRequired": attachRequired},
	}}
	return clusterOf(driver)
}

func node(name string) runtime.Object {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": name}}}
}

// With more than one node, the snapshotter of one would call another's group deleted.
func TestGroupSnapshotsOfLocalNodesAreForOneNode(t *testing.T) {
	const values = "{snapshots: {enabled: true}, groupSnapshots: {enabled: true}"
	for _, c := range []struct {
		values string
		nodes  []runtime.Object
		works  bool
	}{
		{values + "}", []runtime.Object{node("a")}, true},
		{values + "}", []runtime.Object{node("a"), node("b")}, false},
		{values + ", node: {nodeSelector: {kubernetes.io/hostname: a}}}", []runtime.Object{node("a"), node("b")}, true},
		{values + ", profile: single, controller: {privileged: true}}", []runtime.Object{node("a"), node("b")}, true},
	} {
		_, err := Render(Case{Values: c.values, Cluster: clusterOf(c.nodes...)})
		if (err == nil) != c.works || err != nil && !strings.Contains(err.Error(), "is for one node, and the cluster has 2") {
			t.Errorf("%s with %d nodes: %v", c.values, len(c.nodes), err)
		}
	}
}

// attachRequired cannot be changed: an upgrade that would have to says so, and with which command it can go on.
func TestAnUpgradeThatChangesWhatIsImmutableSaysWhatToDo(t *testing.T) {
	for profile, attach := range map[string]bool{"local": false, "single": true} {
		values := "{profile: " + profile + "}"
		if _, err := Render(Case{Values: values, Cluster: clusterWith(attach)}); err != nil {
			t.Errorf("%s over itself: %v", profile, err)
		}
		_, err := Render(Case{Values: values, Cluster: clusterWith(!attach)})
		if err == nil || !strings.Contains(err.Error(), "kubectl delete csidriver offshoot.dev") {
			t.Errorf("%s over the other profile: %v", profile, err)
		}
	}
}

// The bases are committed; they are what the chart renders (make deploy-render).
func TestTheBasesAreWhatTheChartRenders(t *testing.T) {
	for _, c := range Bases {
		for name, wanted := range Base(mustRender(t, c)) {
			found, err := os.ReadFile("../kustomize/" + c.Name + "/" + name)
			if err != nil || string(found) != wanted {
				t.Errorf("deploy/kustomize/%s/%s is not what the chart renders (%v): make deploy-render", c.Name, name, err)
			}
		}
	}
	folders, err := os.ReadDir("../kustomize")
	if err != nil || len(folders) != len(Bases) {
		t.Errorf("%d folders for %d bases (%v)", len(folders), len(Bases), err)
	}
}

func TestTheChartHasTheAlerts(t *testing.T) {
	alerts, err := os.ReadFile(Alerts)
	if err != nil {
		t.Fatal(err)
	}
	if own, err := os.ReadFile(ChartAlerts); err != nil || string(own) != string(alerts) {
		t.Errorf("%s is not %s (%v): make deploy-render", ChartAlerts, Alerts, err)
	}
	manifest := mustRender(t, Case{Values: "{driverName: a.b, monitoring: {prometheusRule: {enabled: true}}}"})
	for _, part := range []string{"kind: PrometheusRule", "alert: OffshootDown", `driver_name="a.b"`} {
		if !strings.Contains(manifest, part) {
			t.Errorf("no %s in the PrometheusRule", part)
		}
	}
}

// `kubectl apply -k` builds the same objects, under its own name.
func TestKustomizeBuildsEveryBase(t *testing.T) {
	for _, c := range Bases {
		t.Run(c.Name, func(t *testing.T) {
			built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../kustomize/"+c.Name)
			if err != nil {
				t.Fatal(err)
			}
			text, err := built.AsYaml()
			if err != nil {
				t.Fatal(err)
			}
			objects := mustDecode(t, string(text))
			if wanted := mustDecode(t, Base(mustRender(t, c))["offshoot.yaml"]); len(objects) != len(wanted)+1 {
				t.Errorf("%d objects from %d and a namespace", len(objects), len(wanted))
			}
			if strings.Contains(string(text), "managed-by: Helm") {
				t.Error("it says that Helm manages it")
			}
			for _, problem := range append(CheckReferences(objects), CheckSockets(objects)...) {
				t.Error(problem)
			}
		})
	}
}

func TestABaseHasNoHooksAndMakesItsNamespace(t *testing.T) {
	files := Base(mustRender(t, caseNamed(t, "local")))
	if strings.Contains(files["offshoot.yaml"], "helm.sh/hook") {
		t.Error("the pod of `helm test` is in the base")
	}
	if !strings.Contains(files["namespace.yaml"], "pod-security.kubernetes.io/enforce: privileged") {
		t.Error("the namespace does not let the node's pod in")
	}
	mustDecode(t, files["namespace.yaml"]+"---\n"+files["offshoot.yaml"])
}
