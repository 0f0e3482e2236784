package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const cgroups = "/sys/fs/cgroup"

// takeBack returns what a run left on the machine, after it has been taken back.
func (s Sandbox) takeBack() []string {
	var left []string
	for _, device := range s.loopDevices(10 * time.Second) {
		left = append(left, "loop device "+device)
		_ = exec.Command("losetup", "--detach", device).Run()
	}
	for _, group := range s.removeCgroups() {
		left = append(left, "cgroup "+group)
	}
	return left
}

// loopDevices are ours that are still there after a while: a filesystem of ended namespaces is unmounted a little later.
func (s Sandbox) loopDevices(patience time.Duration) []string {
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		pool, devices := s.Loops()
		if pool != "" {
			devices = append(devices, pool)
		}
		if len(devices) == 0 || time.Now().After(deadline) {
			return devices
		}
	}
}

// Loops are the loop devices of the pool's image and of the volumes in it, whoever sees them. The name of a volume's file is
// relative to a filesystem that only the namespace has mounted, so that filesystem's device says whose it is. The kubelet puts
// a loop device of its own over that of a raw block volume; such a one comes first.
func (s Sandbox) Loops() (pool string, volumes []string) {
	output, err := exec.Command("losetup", "--noheadings", "--output", "NAME,BACK-MAJ:MIN,MAJ:MIN,BACK-INO,BACK-FILE").Output()
	if err != nil {
		return "", []string{fmt.Sprintf("(unknown: losetup: %v)", err)}
	}
	var number string
	lines := strings.Split(string(output), "\n")
	for _, line := range lines {
		if fields := strings.Fields(line); len(fields) >= 5 && filepath.Base(fields[4]) == filepath.Base(s.PoolImage()) {
			pool, number = fields[0], fields[2]
		}
	}
	var above []string
	for _, line := range lines {
		if fields := strings.Fields(line); len(fields) >= 4 && fields[1] == number {
			volumes = append(volumes, fields[0])
			above = append(above, over(fields[0], lines)...)
		}
	}
	return pool, append(above, volumes...)
}

// over are the loop devices that have the node of a device behind them, by device and inode of that node.
func over(device string, lines []string) (found []string) {
	var node syscall.Stat_t
	if syscall.Stat(device, &node) != nil {
		return nil
	}
	filesystem := fmt.Sprintf("%d:%d", node.Dev>>8, node.Dev&0xff)
	for _, line := range lines {
		if fields := strings.Fields(line); len(fields) >= 4 && fields[1] == filesystem && fields[3] == fmt.Sprint(node.Ino) {
			found = append(found, fields[0])
		}
	}
	return found
}

// hierarchies are the directories that can hold cgroups of ours: one for each controller (version 1), or the root (2).
func hierarchies() []string {
	found, _ := filepath.Glob(cgroups + "/*/cgroup.procs")
	var directories []string
	for _, file := range found {
		if directory := filepath.Dir(file); filepath.Dir(directory) == cgroups {
			directories = append(directories, directory)
		}
	}
	if _, err := os.Stat(cgroups + "/cgroup.controllers"); err == nil {
		return []string{cgroups}
	}
	return directories
}

func (s Sandbox) makeCgroups() error {
	for _, hierarchy := range hierarchies() {
		if err := os.Mkdir(filepath.Join(hierarchy, s.Cgroup()), 0o755); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return nil
}

// removeCgroups removes ours; those that cannot be removed are returned.
func (s Sandbox) removeCgroups() []string {
	var left []string
	for _, hierarchy := range hierarchies() {
		top := filepath.Join(hierarchy, s.Cgroup())
		var all []string
		_ = filepath.WalkDir(top, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				all = append(all, path)
			}
			return nil
		})
		for i := len(all) - 1; i >= 0; i-- {
			if err := removeCgroup(all[i]); err != nil {
				left = append(left, all[i])
			}
		}
	}
	return left
}

// removeCgroup waits a little for processes that are just ending.
func removeCgroup(path string) error {
	var err error
	for range 50 {
		if err = syscall.Rmdir(path); err == nil || os.IsNotExist(err) {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// kernelSettings are what the kubelet sets for the whole machine, as it was before.
type kernelSettings map[string][]byte

func readKernelSettings() kernelSettings {
	saved := kernelSettings{}
	for _, name := range []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"} {
		path := filepath.Join("/proc/sys", name)
		if value, err := os.ReadFile(path); err == nil {
			saved[path] = value
		}
	}
	return saved
}

func (saved kernelSettings) restore() {
	for path, value := range saved {
		if now, err := os.ReadFile(path); err == nil && string(now) != string(value) {
			_ = os.WriteFile(path, value, 0o644)
		}
	}
}
