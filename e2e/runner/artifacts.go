package runner

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"offshoot.dev/e2e/cluster"
)

// collect writes the objects, events and logs of this moment into a directory.
func collect(c *cluster.Cluster, directory string, failure error) error {
	// The run may be over, but what happened is still wanted.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	errs := os.WriteFile(filepath.Join(directory, "failure.txt"), []byte(failure.Error()+"\n"), 0o644)
	for name, arguments := range map[string][]string{
		"events.txt":   {"get", "events", "-A", "--sort-by=.lastTimestamp"},
		"pods.txt":     {"get", "pods", "-A", "-o", "wide"},
		"describe.txt": {"describe", "pods", "-A"},
		"objects.yaml": {"get", "pods,persistentvolumeclaims,persistentvolumes,volumeattachments,csinodes,csidrivers,csistoragecapacities," +
			"storageclasses,volumesnapshots,volumesnapshotcontents,volumegroupsnapshots,volumegroupsnapshotcontents", "-A", "-o", "yaml"},
	} {
		output, err := c.API.Kubectl(ctx, "", arguments...)
		errs = errors.Join(errs, err, os.WriteFile(filepath.Join(directory, name), []byte(output), 0o644))
	}
	// The logs of pods lie beside those of the cluster.
	copied := exec.Command("cp", "-r", "--no-preserve=ownership", filepath.Dir(c.LogDir), filepath.Join(directory, "log"))
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	return errors.Join(errs, copied.Run(), err, os.WriteFile(filepath.Join(directory, "mountinfo"), mounts, 0o644))
}
