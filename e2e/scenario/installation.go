package scenario

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"offshoot.dev/e2e/api"
	"offshoot.dev/e2e/cluster"
	"offshoot.dev/e2e/install"
)

// startupTaint: a node that has the taint again loses it when the driver is there again, and not before.
func startupTaint(t *T) {
	node := "/api/v1/nodes/" + cluster.NodeName
	tainted := func() bool {
		return slices.ContainsFunc(t.Get(node).Objects("spec.taints"), func(taint api.Object) bool {
			return taint.Text("key") == install.StartupTaint
		})
	}
	if tainted() {
		t.Fail("the node still has the taint that it was registered with")
	}
	_, err := t.API().Kubectl(t.Context, "", "taint", "node", cluster.NodeName, install.StartupTaint+"=:NoSchedule")
	t.Must(err)
	t.Must(t.API().Delete(t.Context, "/api/v1/namespaces/"+install.Namespace+"/pods/"+t.Offshoot.NodePod(t.Context)))
	t.Eventually("removal of the taint", func() string {
		if tainted() {
			return "it is there"
		}
		return ""
	})
	t.Must(t.Offshoot.WaitReady(t.Context))
}

// chartTest: what the chart offers for trying it.
func chartTest(t *T) { t.Must(t.Offshoot.Test(t.Context)) }

// removedWithVolumes: taking Offshoot away stops no pod and loses no volume; once it is back, they can be deleted.
func removedWithVolumes(t *T) {
	t.Apply(claim{name: "data", size: "64Mi"}, pod{name: "writer", claims: []string{"data"}, script: steady})
	t.WaitRunning("writer")
	volume := t.Get(t.core("persistentvolumeclaims", "data")).Text("spec.volumeName")
	before := t.lines("writer")
	t.Must(t.Offshoot.Uninstall(t.Context))
	t.goesOn("writer", before)
	t.Equal("phase of the volume", t.Get("/api/v1/persistentvolumes/"+volume).Text("status.phase"), "Bound")
	t.Must(t.Offshoot.Install(t.Context))
	t.Must(t.Offshoot.WaitReady(t.Context))
	t.goesOn("writer", t.lines("writer"))
	t.DeletePods("writer")
	t.Apply(pod{name: "reader", claims: []string{"data"}})
	t.WaitRunning("reader")
	t.lines("reader")
	t.DeletePods("reader")
	t.deleteVolumes("data")
}

// denied is one line of the API server's audit log, as far as it matters.
type denied struct {
	Verb           string
	User           struct{ Username string }
	ObjectRef      struct{ Resource, Subresource, Namespace, Name string }
	ResponseStatus struct{ Code int }

	RequestReceivedTimestamp time.Time
}

// rightsSuffice: nothing that is installed was refused anything by the API server. While it is being removed that is no fault.
func rightsSuffice(t *T) {
	file, err := os.Open(cluster.AuditLog(t.Cluster.LogDir))
	t.Must(err)
	defer file.Close()
	refused := map[string]int{}
	allowed := 0
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line denied
		if json.Unmarshal(lines.Bytes(), &line) != nil || !strings.HasPrefix(line.User.Username, "system:serviceaccount:"+install.Namespace+":") || line.RequestReceivedTimestamp.Before(t.Offshoot.Since) {
			continue
		}
		if line.ResponseStatus.Code == 403 {
			refused[fmt.Sprintf("%s may not %s %s/%s", line.User.Username, line.Verb, line.ObjectRef.Resource, line.ObjectRef.Subresource)]++
		} else {
			allowed++
		}
	}
	t.Must(lines.Err())
	if len(refused) > 0 {
		t.Fail("refused: %v", refused)
	}
	if allowed == 0 {
		t.Fail("the audit log holds no request of ours: nothing was looked at")
	}
}

// controllerRestricted: the API server takes the controller's pod where Pod Security allows the least.
func controllerRestricted(t *T) {
	running := t.Get("/api/v1/namespaces/" + install.Namespace + "/pods/offshoot-controller-0")
	_, err := t.API().Kubectl(t.Context, "", "label", "--overwrite", "namespace", t.Namespace, "pod-security.kubernetes.io/enforce=restricted")
	t.Must(err)
	submit := func(spec any) error {
		manifest, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "controller"}, "spec": spec})
		t.Must(err)
		_, err = t.API().Kubectl(t.Context, string(manifest), "-n", t.Namespace, "create", "--dry-run=server", "-f", "-")
		return err
	}
	spec, _ := running.At("spec").(map[string]any)
	delete(spec, "serviceAccountName")
	delete(spec, "serviceAccount")
	t.Must(submit(spec))
	spec["hostNetwork"] = true
	if submit(spec) == nil {
		t.Fail("a pod on the host's network is taken too: nothing was looked at")
	}
}
