package deploy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// sidecarUser is "offshoot.user" of the chart.
const sidecarUser = 65532

// start runs the driver as a user until the test ends.
func start(t *testing.T, binary string, user uint32, args ...string) {
	t.Helper()
	driver := exec.Command(binary, append([]string{"serve", "--node-id=n", "--log-level=warn"}, args...)...)
	driver.Stdout, driver.Stderr = os.Stderr, os.Stderr
	driver.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: sidecarUser, Groups: []uint32{}}}
	if err := driver.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = driver.Process.Signal(syscall.SIGTERM)
		_ = driver.Wait()
	})
}

// dataDirectory is as the kubelet hands it to the controller of profile single: root's, and the group's.
func dataDirectory(t *testing.T) (dir, data string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "offshoot-unprivileged-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data = filepath.Join(dir, "data")
	for path, mode := range map[string]os.FileMode{dir: 0o755, data: 0o775 | os.ModeSetgid, filepath.Join(dir, "csi"): 0o770, filepath.Join(dir, "kubelet"): 0o755} {
		if err := os.MkdirAll(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 0, sidecarUser); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir, data
}

// The controller of profile single is no root and has no device; root's half of the driver works on the same directory.
func TestTheControllerNeedsNoRoot(t *testing.T) {
	if os.Getuid() != 0 {
		fmt.Println("skipped: the controller without root: only root can start a process as somebody else")
		t.Skip("needs root")
	}
	dir, data := dataDirectory(t)
	socket := filepath.Join(dir, "csi", "csi.sock")
	// The project may lie where only root can go.
	program, err := os.ReadFile(driverBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "offshoot")
	if err := os.WriteFile(binary, program, 0o755); err != nil {
		t.Fatal(err)
	}
	start(t, binary, sidecarUser, "--mode=controller", "--endpoint=unix://"+socket, "--data-dir="+data)
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	controller := csi.NewControllerClient(connection)
	volume, err := controller.CreateVolume(ctx, request("one", "ext4"))
	if err != nil {
		t.Fatal(err)
	}
	id := volume.GetVolume().GetVolumeId()
	start(t, binary, 0, "--mode=node", "--endpoint=unix://"+dir+"/node.sock", "--data-dir="+data, "--kubelet-dir="+dir+"/kubelet")
	publish := &csi.ControllerPublishVolumeRequest{VolumeId: id, NodeId: "n", VolumeCapability: capability("ext4")}
	for range 100 { // until the node is known
		if _, err = controller.ControllerPublishVolume(ctx, publish); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		t.Fatalf("what root's half registered cannot be used: %v", err)
	}
	snapshot, err := controller.CreateSnapshot(ctx, &csi.CreateSnapshotRequest{Name: "cut", SourceVolumeId: id})
	if err != nil {
		t.Fatal(err)
	}
	copied := request("two", "ext4")
	copied.VolumeContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
		Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: snapshot.GetSnapshot().GetSnapshotId()}}}
	clone, err := controller.CreateVolume(ctx, copied)
	if err != nil {
		t.Fatal(err)
	}
	grow := &csi.ControllerExpandVolumeRequest{VolumeId: id, CapacityRange: &csi.CapacityRange{RequiredBytes: 64 << 20}}
	if _, err := controller.ControllerExpandVolume(ctx, grow); err != nil {
		t.Error(err)
	}
	for _, call := range []func() error{
		func() error {
			_, err := controller.ControllerUnpublishVolume(ctx, &csi.ControllerUnpublishVolumeRequest{VolumeId: id, NodeId: "n"})
			return err
		},
		func() error {
			_, err := controller.DeleteSnapshot(ctx, &csi.DeleteSnapshotRequest{SnapshotId: snapshot.GetSnapshot().GetSnapshotId()})
			return err
		},
		func() error {
			_, err := controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: clone.GetVolume().GetVolumeId()})
			return err
		},
		func() error {
			_, err := controller.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: id})
			return err
		},
	} {
		if err := call(); err != nil {
			t.Error(err)
		}
	}
}

func capability(fs string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER},
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: fs}},
	}
}

func request(name, fs string) *csi.CreateVolumeRequest {
	return &csi.CreateVolumeRequest{Name: name, CapacityRange: &csi.CapacityRange{RequiredBytes: 32 << 20}, VolumeCapabilities: []*csi.VolumeCapability{capability(fs)}}
}
