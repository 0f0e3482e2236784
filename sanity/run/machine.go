package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// tool runs a command to its end.
func tool(name string, arguments ...string) error {
	output, err := exec.Command(name, arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(output)))
	}
	return nil
}

// mountData gives path a filesystem of its own: a sparse image on a loop device, or tmpfs.
func mountData(kind, image, path string) error {
	if kind == "tmpfs" {
		return tool("mount", "-t", "tmpfs", "-o", "size=24g", "offshoot-sanity", path)
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(image, 24<<30); err != nil {
		return err
	}
	force := "-f"
	if kind == "ext4" {
		force = "-F"
	}
	if err := tool("mkfs."+kind, "-q", force, image); err != nil {
		return err
	}
	return tool("mount", "-o", "loop", image, path)
}

// leftovers names every mount and loop device that has to do with dir, but for the mount of its data directory.
func leftovers(dir, data string) []string {
	var found []string
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) > 4 && strings.HasPrefix(fields[4], dir) && fields[4] != data {
			found = append(found, "mount "+fields[4])
		}
	}
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range backing {
		behind, _ := os.ReadFile(file)
		if strings.HasPrefix(string(behind), data+"/") || strings.HasPrefix(string(behind), "/volumes/v1-") {
			found = append(found, "loop device of "+strings.TrimSpace(string(behind)))
		}
	}
	return found
}

// canGrowExt4 tells whether this process may grow a mounted ext4 filesystem (CAP_SYS_RESOURCE).
func canGrowExt4() bool {
	const resource = 24
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if set, ok := strings.CutPrefix(line, "CapEff:"); ok {
			capabilities, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64)
			return err == nil && capabilities&(1<<resource) != 0
		}
	}
	return false
}
