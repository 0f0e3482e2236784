package deploy

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	storage "k8s.io/api/storage/v1"
)

// Abilities are what a running driver says that it can do.
type Abilities struct {
	Name       string
	plugin     []string
	controller []string
	node       []string
	group      []string
}

// Ask starts the driver with the arguments that the chart gives it, but in memory and in a folder of its own, and asks it.
func Ask(binary string, args []string) (*Abilities, error) {
	dir, err := os.MkdirTemp("", "offshoot-deploy-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.MkdirAll(filepath.Join(dir, "kubelet", "plugins_registry"), 0o755); err != nil {
		return nil, err
	}
	metrics, err := freeAddress()
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "csi.sock")
	said := &bytes.Buffer{}
	driver := exec.Command(binary, ownArguments(args, dir, socket, metrics)...)
	driver.Stdout, driver.Stderr = said, said
	if err := driver.Start(); err != nil {
		return nil, err
	}
	ctx, ended := context.WithTimeout(context.Background(), 30*time.Second)
	gone := make(chan struct{})
	go func() { // who waits for a driver that has ended waits in vain
		_ = driver.Wait()
		ended()
		close(gone)
	}()
	defer func() {
		_ = driver.Process.Kill()
		<-gone
	}()
	abilities, err := ask(ctx, socket)
	if err != nil {
		return nil, fmt.Errorf("%w; the driver said:\n%s", err, said)
	}
	return abilities, nil
}

// ownArguments are those of the chart, with paths and addresses of the test, and without what needs a cluster or a collector.
func ownArguments(args []string, dir, socket, metrics string) []string {
	own := map[string]string{
		"endpoint": "unix://" + socket, "data-dir": filepath.Join(dir, "data"), "kubelet-dir": filepath.Join(dir, "kubelet"),
		"registration-dir": filepath.Join(dir, "kubelet", "plugins_registry"), "metrics-address": metrics, "mode": "all",
	}
	var given []string
	for _, arg := range args {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if value, ok := own[name]; ok {
			arg = "--" + name + "=" + value
		}
		if !slices.Contains([]string{"startup-taint", "otlp-endpoint", "backend"}, name) {
			given = append(given, arg)
		}
	}
	return append(given, "--backend=memory", "--node-id=node-1")
}

// freeAddress gives one that nobody listens at just now.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

func ask(ctx context.Context, socket string) (*Abilities, error) {
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	found := &Abilities{}
	info, err := csi.NewIdentityClient(connection).GetPluginInfo(ctx, &csi.GetPluginInfoRequest{})
	if err != nil {
		return nil, err
	}
	found.Name = info.GetName()
	plugin, err := csi.NewIdentityClient(connection).GetPluginCapabilities(ctx, &csi.GetPluginCapabilitiesRequest{})
	if err != nil {
		return nil, err
	}
	for _, it := range plugin.GetCapabilities() {
		found.plugin = append(found.plugin, it.GetService().GetType().String())
	}
	controller, err := csi.NewControllerClient(connection).ControllerGetCapabilities(ctx, &csi.ControllerGetCapabilitiesRequest{})
	if err != nil {
		return nil, err
	}
	for _, it := range controller.GetCapabilities() {
		found.controller = append(found.controller, it.GetRpc().GetType().String())
	}
	group, err := csi.NewGroupControllerClient(connection).GroupControllerGetCapabilities(ctx, &csi.GroupControllerGetCapabilitiesRequest{})
	if err != nil {
		return nil, err
	}
	for _, it := range group.GetCapabilities() {
		found.group = append(found.group, it.GetRpc().GetType().String())
	}
	node, err := csi.NewNodeClient(connection).NodeGetCapabilities(ctx, &csi.NodeGetCapabilitiesRequest{})
	if err != nil {
		return nil, err
	}
	for _, it := range node.GetCapabilities() {
		found.node = append(found.node, it.GetRpc().GetType().String())
	}
	return found, nil
}

// CheckAbilities finds sidecars and promises that the driver cannot keep, and abilities that nobody uses.
func CheckAbilities(objects Objects, can *Abilities) []string {
	var found problems
	var deployed []string
	for _, it := range objects.drivers() {
		for _, container := range it.pod.Spec.Containers {
			deployed = append(deployed, container.Name)
		}
	}
	driver := all[*storage.CSIDriver](objects)[0]
	if driver.Name != can.Name {
		found.add("the driver is called %s, the CSIDriver %s", can.Name, driver.Name)
	}
	matches := func(what string, is bool, ability string, has []string) {
		if is && !slices.Contains(has, ability) {
			found.add("%s needs %s, which the driver does not have", what, ability)
		}
	}
	same := func(name, ability string, has []string) {
		if slices.Contains(has, ability) && !slices.Contains(deployed, name) {
			found.add("nobody uses %s: no %s", ability, name)
		}
		matches(name, slices.Contains(deployed, name), ability, has)
	}
	same("csi-provisioner", "CREATE_DELETE_VOLUME", can.controller)
	same("csi-resizer", "EXPAND_VOLUME", can.controller)
	matches("csi-attacher", slices.Contains(deployed, "csi-attacher"), "PUBLISH_UNPUBLISH_VOLUME", can.controller)
	matches("csi-snapshotter", slices.Contains(deployed, "csi-snapshotter"), "CREATE_DELETE_SNAPSHOT", can.controller)
	if *driver.Spec.AttachRequired != slices.Contains(deployed, "csi-attacher") {
		found.add("attachRequired is %v, and csi-attacher is there: %v", *driver.Spec.AttachRequired, slices.Contains(deployed, "csi-attacher"))
	}
	matches("storageCapacity", *driver.Spec.StorageCapacity, "GET_CAPACITY", can.controller)
	matches("WaitForFirstConsumer", len(all[*storage.StorageClass](objects)) > 0, "VOLUME_ACCESSIBILITY_CONSTRAINTS", can.plugin)
	matches("VolumeAttributesClass", len(all[*storage.VolumeAttributesClass](objects)) > 0, "MODIFY_VOLUME", can.controller)
	matches("ReadWriteOncePod in `helm test`", true, "SINGLE_NODE_MULTI_WRITER", can.controller)
	matches("ReadWriteOncePod in `helm test`", true, "SINGLE_NODE_MULTI_WRITER", can.node)
	for _, class := range all[*storage.StorageClass](objects) {
		matches("StorageClass "+class.Name, *class.AllowVolumeExpansion, "EXPAND_VOLUME", can.node)
	}
	for _, class := range snapshotClasses(objects) {
		if !slices.Contains(deployed, "csi-snapshotter") {
			found.add("%s without csi-snapshotter", class.name)
		}
		if strings.HasPrefix(class.name, "VolumeGroup") {
			matches(class.name, true, "CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT", can.group)
		}
	}
	return found
}
