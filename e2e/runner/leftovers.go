package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"offshoot.dev/e2e/install"
	"offshoot.dev/e2e/sandbox"
)

// volumesOfClaims are all volumes but the one by which the controller of profile single has its data directory.
const volumesOfClaims = "/api/v1/persistentvolumes?labelSelector=app.kubernetes.io%2Fname%21%3Doffshoot"

// leftovers waits until nothing is there that the scenarios made: objects, mounts, loop devices, files.
func (r *Runner) leftovers(ctx context.Context) error {
	return r.gone(ctx, func() []string {
		left := r.objects(ctx, volumesOfClaims, "/apis/storage.k8s.io/v1/volumeattachments",
			"/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents", "/apis/groupsnapshot.storage.k8s.io/v1/volumegroupsnapshotcontents")
		left = append(left, mounts()...)
		left = append(left, r.devices()...)
		return append(left, files(filepath.Join(sandbox.PoolMount, "volumes"), filepath.Join(sandbox.PoolMount, "snapshots"))...)
	})
}

// removed waits until nothing is there that the installation made; the data directory stays, with nothing in it but its identity.
func (r *Runner) removed(ctx context.Context) error {
	return r.gone(ctx, func() []string {
		left := r.objects(ctx, "/api/v1/namespaces/"+install.Namespace+"/pods", "/apis/storage.k8s.io/v1/csidrivers", "/apis/storage.k8s.io/v1/storageclasses",
			"/apis/storage.k8s.io/v1/volumeattributesclasses", "/apis/storage.k8s.io/v1/csistoragecapacities", "/api/v1/persistentvolumes")
		for _, role := range r.objects(ctx, "/apis/rbac.authorization.k8s.io/v1/clusterroles", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings") {
			if strings.Contains(role, "offshoot") {
				left = append(left, role)
			}
		}
		left = append(left, mounts()...)
		return append(left, files("/var/lib/kubelet/plugins_registry", "/var/lib/kubelet/plugins/offshoot.dev")...)
	})
}

// gone waits until nothing is found any more.
func (r *Runner) gone(ctx context.Context, find func() []string) error {
	for deadline := time.Now().Add(3 * time.Minute); ; {
		left := find()
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("left: %s", strings.Join(left, ", "))
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), fmt.Errorf("left: %s", strings.Join(left, ", ")))
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func (r *Runner) objects(ctx context.Context, paths ...string) []string {
	var found []string
	for _, path := range paths {
		objects, err := r.Cluster.API.List(ctx, path)
		if err != nil {
			found = append(found, err.Error())
		}
		for _, object := range objects {
			found = append(found, filepath.Base(path)+" "+object.Name())
		}
	}
	return found
}

// mounts are those of volumes: the kubelet's directory itself, the pool, and the tokens of running pods are not.
func mounts() []string {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 4 && strings.HasPrefix(fields[4], "/var/lib/kubelet/") && strings.Contains(fields[4], "kubernetes.io/csi") ||
			len(fields) > 4 && strings.Contains(fields[4], "kubernetes.io~csi") {
			found = append(found, "mount "+fields[4])
		}
	}
	return found
}

// devices are the loop devices of volumes, that is, all of ours but the pool's own.
func (r *Runner) devices() []string {
	var found []string
	_, volumes := r.Sandbox.Loops()
	for _, loop := range volumes {
		found = append(found, "loop device "+loop)
	}
	return found
}

func files(directories ...string) []string {
	var found []string
	for _, directory := range directories {
		err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				found = append(found, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			found = append(found, err.Error())
		}
	}
	return found
}
