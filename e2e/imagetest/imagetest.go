// Package imagetest runs the container image under containerd, with a kubelet and no cluster: the controller half as a user who is not
// root and has no rights, the node half privileged; and lets csi-sanity go through every call of both.
package imagetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"offshoot.dev/e2e/cluster"
	"offshoot.dev/e2e/sandbox"
)

const (
	kubelet = "/var/lib/kubelet"
	sockets = kubelet + "/plugins/offshoot.dev"
	user    = 65532
)

// pods are the two halves. The data directory is the controller's: the node comes to it as root.
const pods = `apiVersion: v1
kind: Pod
metadata: {name: offshoot}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 5
  containers:
  - name: controller
    image: IMAGE
    imagePullPolicy: Never
    args: [serve, --mode=controller, --endpoint=unix://SOCKETS/controller.sock, --data-dir=POOL, --node-id=image-test, --default-fs-type=xfs]
    securityContext: {runAsUser: 65532, runAsGroup: 65532, runAsNonRoot: true, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts:
    - {name: sockets, mountPath: SOCKETS}
    - {name: pool, mountPath: POOL}
  - name: node
    image: IMAGE
    imagePullPolicy: Never
    args: [serve, --mode=node, --endpoint=unix://SOCKETS/node.sock, --data-dir=POOL, --node-id=image-test, --default-fs-type=xfs, --kubelet-dir=KUBELET, --max-volumes-per-node=8]
    securityContext: {privileged: true, runAsUser: 0, runAsGroup: 65532, readOnlyRootFilesystem: true}
    volumeMounts:
    - {name: kubelet, mountPath: KUBELET, mountPropagation: Bidirectional}
    - {name: pool, mountPath: POOL}
    - {name: dev, mountPath: /dev}
    - {name: block-settings, mountPath: /sys/devices/virtual/block}
  volumes:
  - {name: sockets, hostPath: {path: SOCKETS}}
  - {name: kubelet, hostPath: {path: KUBELET}}
  - {name: pool, hostPath: {path: POOL}}
  - {name: dev, hostPath: {path: /dev}}
  - {name: block-settings, hostPath: {path: /sys/devices/virtual/block}}
`

// Run is the whole test. Sanity is the program csi-sanity.
func Run(ctx context.Context, c *cluster.Cluster, box sandbox.Sandbox, image, sanity string, say func(string, ...any)) error {
	began := time.Now()
	if err := c.StartContainerd(ctx, filepath.Join(c.Images, "offshoot.tar"), filepath.Join(c.Images, "pause.tar")); err != nil {
		return err
	}
	if err := os.MkdirAll(sockets, 0o770); err != nil {
		return err
	}
	if err := errors.Join(os.Chown(sockets, user, user), os.Chown(sandbox.PoolMount, user, user), os.Chmod(sandbox.PoolMount, 0o770)); err != nil {
		return err
	}
	manifest := strings.NewReplacer("IMAGE", image, "SOCKETS", sockets, "POOL", sandbox.PoolMount, "KUBELET", kubelet).Replace(pods)
	if err := c.StartStandalone(manifest); err != nil {
		return err
	}
	controller, node := sockets+"/controller.sock", sockets+"/node.sock"
	for _, socket := range []string{controller, node} {
		if err := answers(ctx, socket); err != nil {
			return fmt.Errorf("no answer: %w\n%s", err, logs())
		}
	}
	passed, failed, err := runSanity(ctx, sanity, controller, node)
	if _, left := box.Loops(); len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("left: loop devices %v", left))
	}
	say("image: %d passed, %d failed in %.0f s (csi-sanity; controller as user %d, node privileged)", passed, failed, time.Since(began).Seconds(), user)
	return err
}

// logs are what the containers said.
func logs() string {
	files, _ := filepath.Glob(sandbox.Logs + "/pods/*/*/*.log")
	var all strings.Builder
	for _, file := range files {
		text, _ := os.ReadFile(file)
		fmt.Fprintf(&all, "%s:\n%s\n", file, text)
	}
	return all.String()
}

func answers(ctx context.Context, socket string) error {
	var err error
	for range 900 {
		var connection net.Conn
		if connection, err = net.Dial("unix", socket); err == nil {
			return connection.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return err
}

// runSanity lets csi-sanity call everything; how many specs passed and failed is in its report.
func runSanity(ctx context.Context, sanity, controller, node string) (passed, failed int, err error) {
	report := filepath.Join(sandbox.Logs, "image-report.json")
	mutable := filepath.Join(sandbox.Logs, "image-mutable.yaml")
	if err := os.WriteFile(mutable, []byte("readAheadKiB: \"256\"\n"), 0o600); err != nil {
		return 0, 0, err
	}
	command := exec.CommandContext(ctx, sanity, "--csi.testvolumemutableparameters="+mutable, "--csi.endpoint=unix://"+node, "--csi.controllerendpoint=unix://"+controller,
		"--csi.mountdir="+kubelet+"/mount", "--csi.stagingdir="+kubelet+"/stage", "--csi.testvolumesize=1073741824",
		"--csi.testvolumeexpandsize=2147483648", "--csi.testnodevolumeattachlimit=true", "--ginkgo.json-report="+report)
	output, runErr := command.CombinedOutput()
	text, err := os.ReadFile(report)
	if err != nil {
		return 0, 0, fmt.Errorf("csi-sanity wrote no report: %w: %s", runErr, output)
	}
	var suites []struct {
		SpecReports []struct{ State, LeafNodeText string }
	}
	if err := json.Unmarshal(text, &suites); err != nil {
		return 0, 0, err
	}
	var failures []string
	for _, suite := range suites {
		for _, spec := range suite.SpecReports {
			switch spec.State {
			case "passed":
				passed++
			case "skipped", "pending":
			default:
				failed++
				failures = append(failures, spec.LeafNodeText)
			}
		}
	}
	if failed > 0 || passed == 0 {
		return passed, failed, fmt.Errorf("failed: %s", strings.Join(failures, "; "))
	}
	return passed, failed, nil
}
