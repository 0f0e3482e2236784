// Package install puts Offshoot into the cluster, from deploy/ and with the images that were built here, and takes it away again.
package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"offshoot.dev/e2e/api"
	"offshoot.dev/e2e/cluster"
)

// Namespace is where it is installed.
const Namespace = "offshoot-system"

const release = "offshoot"

// StartupTaint is on the node from the beginning.
const StartupTaint = "offshoot.dev/agent-not-ready"

const patience = 5 * time.Minute

// Offshoot is one installation.
type Offshoot struct {
	// Profile is the chart's.
	Profile string
	// Chart is the directory of the chart, Helm the program.
	Chart, Helm string
	API         *api.Client
	// Since is when it was installed.
	Since time.Time
}

// Profiles are the ways in which it is tested.
var Profiles = map[string][]string{
	"local":  {"profile=local", "groupSnapshots.enabled=true"},
	"single": {"profile=single", "controller.privileged=true", "groupSnapshots.enabled=true"},
	// The controller's pod keeps to Pod Security "restricted".
	"restricted": {"profile=single"},
}

// values are what the installation sets.
func (o *Offshoot) values() []string {
	return append(slices.Clone(Profiles[o.Profile]), "startupTaint.enabled=true", "log.level=info\\,offshoot=debug",
		"sidecars.provisioner.capacityPollInterval=10s")
}

// Install installs it and waits until it is ready.
func (o *Offshoot) Install(ctx context.Context, more ...string) error {
	o.Since = time.Now()
	if err := o.API.Apply(ctx, "default", "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+Namespace+", labels: {pod-security.kubernetes.io/enforce: privileged}}\n"); err != nil {
		return err
	}
	return o.helm(ctx, append([]string{"install"}, o.settings(more)...)...)
}

// Upgrade changes values and waits until everything runs with them.
func (o *Offshoot) Upgrade(ctx context.Context, more ...string) error {
	if err := o.helm(ctx, append([]string{"upgrade", "--reset-values"}, o.settings(more)...)...); err != nil {
		return err
	}
	return o.WaitReady(ctx)
}

func (o *Offshoot) settings(more []string) []string {
	words := []string{release, o.Chart, "--wait", "--timeout", patience.String()}
	for _, value := range append(o.values(), more...) {
		words = append(words, "--set", value)
	}
	return words
}

// Test runs the chart's own test.
func (o *Offshoot) Test(ctx context.Context) error {
	return o.helm(ctx, "test", release, "--timeout", patience.String())
}

// Uninstall takes it away; volumes stay.
func (o *Offshoot) Uninstall(ctx context.Context) error {
	return o.helm(ctx, "uninstall", release, "--wait", "--timeout", patience.String())
}

func (o *Offshoot) helm(ctx context.Context, arguments ...string) error {
	command := exec.CommandContext(ctx, o.Helm, append(arguments, "--namespace", Namespace)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+cluster.Kubeconfig(), "HOME="+os.TempDir(), "NO_PROXY=*")
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("helm %s: %w: %s", arguments[0], err, strings.TrimSpace(string(output)))
	}
	return nil
}

// NodePod is the name of the pod of the node plugin that is not ending, or empty.
func (o *Offshoot) NodePod(ctx context.Context) string {
	pod := o.nodePod(ctx)
	return pod.Name()
}

func (o *Offshoot) nodePod(ctx context.Context) api.Object {
	pods, err := o.API.List(ctx, "/api/v1/namespaces/"+Namespace+"/pods?labelSelector=app.kubernetes.io/component%3Dnode")
	if err != nil {
		return nil
	}
	for _, pod := range pods {
		if pod.Text("metadata.deletionTimestamp") == "" {
			return pod
		}
	}
	return nil
}

// Address is where the pod of a component answers.
func (o *Offshoot) Address(ctx context.Context) string { return o.nodePod(ctx).Text("status.podIP") }

// KillDriver kills the driver's process on the node, as running out of memory would.
func (o *Offshoot) KillDriver(ctx context.Context) error {
	for _, status := range o.nodePod(ctx).Objects("status.containerStatuses") {
		if status.Text("name") == "driver" && status.At("state.running") != nil {
			return cluster.KillContainer(strings.TrimPrefix(status.Text("containerID"), "containerd://"))
		}
	}
	return errors.New("the driver does not run")
}

// WaitReady waits until every pod of the installation is ready and the kubelet knows the driver.
func (o *Offshoot) WaitReady(ctx context.Context) error {
	deadline := time.Now().Add(patience)
	for {
		missing, err := o.missing(ctx)
		if err == nil && missing == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(err, fmt.Errorf("not ready: %s", missing))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (o *Offshoot) missing(ctx context.Context) (string, error) {
	pods, err := o.API.List(ctx, "/api/v1/namespaces/"+Namespace+"/pods")
	if err != nil {
		return "", err
	}
	if len(pods) == 0 {
		return "pods", nil
	}
	for _, pod := range pods {
		if pod.Condition("Ready") != "True" {
			return pod.Name(), nil
		}
	}
	node, err := o.API.Get(ctx, "/apis/storage.k8s.io/v1/csinodes/"+cluster.NodeName)
	if err != nil {
		return "", err
	}
	if len(node.Objects("spec.drivers")) == 0 {
		return "registration of the driver", nil
	}
	return "", nil
}

// Addons installs what a cluster brings along for snapshots: the definitions and the snapshot-controller.
func Addons(ctx context.Context, client *api.Client, crds string) error {
	files, err := filepath.Glob(filepath.Join(crds, "*snapshot*.yaml"))
	if err != nil || len(files) == 0 {
		return errors.Join(err, fmt.Errorf("no definitions in %s", crds))
	}
	arguments := []string{"apply", "--server-side"}
	for _, file := range files {
		arguments = append(arguments, "-f", file)
	}
	if _, err := client.Kubectl(ctx, "", arguments...); err != nil {
		return err
	}
	if _, err := client.Kubectl(ctx, "", "wait", "crd", "--all", "--for=condition=Established", "--timeout=120s"); err != nil {
		return err
	}
	if err := client.Apply(ctx, "kube-system", snapshotController); err != nil {
		return err
	}
	_, err = client.Kubectl(ctx, "", "-n", "kube-system", "rollout", "status", "deployment/snapshot-controller", "--timeout=300s")
	return err
}
