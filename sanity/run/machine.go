package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
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
	return append(found, loopDevices(data)...)
}

// loopDevices names every loop device of a volume below data. Its path may be shown as it is within its filesystem, which other
// filesystems have as well: so the filesystem itself is compared.
func loopDevices(data string) []string {
	var found []string
	var at syscall.Stat_t
	if err := syscall.Stat(data, &at); err != nil {
		return []string{err.Error()}
	}
	filesystem := fmt.Sprintf("%d:%d", unix.Major(at.Dev), unix.Minor(at.Dev))
	devices, err := exec.Command("losetup", "--list", "--noheadings", "--output", "BACK-MAJ:MIN,BACK-FILE").Output()
	if err != nil {
		return []string{"losetup: " + err.Error()}
	}
	for line := range strings.Lines(string(devices)) {
		on, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		file = strings.TrimSpace(file)
		if on == filesystem && (strings.HasPrefix(file, data+"/") || strings.HasPrefix(file, "/volumes/v1-")) {
			found = append(found, "loop device of "+file)
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
