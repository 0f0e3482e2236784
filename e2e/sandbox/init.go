package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// PoolMount is where the driver's data directory is, a filesystem of its own.
const PoolMount = "/var/lib/offshoot"

// Logs is where components and pods write what they have to say.
const Logs = "/var/log"

// PoolSize is how large that filesystem is; its image is sparse, and in memory.
const PoolSize = 20 << 30

// Init is the first process of the namespaces: it sets up the machine, starts this program once more with these arguments,
// and reaps what is left to it until that ends. The exit code is the child's.
func (s Sandbox) Init(arguments []string) (int, error) {
	if err := s.mounts(); err != nil {
		return 1, err
	}
	if err := s.makeCgroups(); err != nil {
		return 1, err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	child, err := os.StartProcess("/proc/self/exe", append([]string{"e2e"}, arguments...), &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return 1, err
	}
	go func() {
		for range signals {
			_ = syscall.Kill(child.Pid, syscall.SIGTERM)
		}
	}()
	return reapUntil(child.Pid), nil
}

// reapUntil collects every child that ends, until this one has.
func reapUntil(pid int) int {
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 1
		case ended == pid && status.Exited():
			return status.ExitStatus()
		case ended == pid:
			return 128 + int(status.Signal())
		}
	}
}

func (s Sandbox) mounts() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("failed to make the mounts private: %w", err)
	}
	if err := dropForeignMounts(); err != nil {
		return err
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("failed to mount /proc: %w", err)
	}
	// In memory, so that the disk's other users slow nothing down, and nothing needs to be removed.
	for _, path := range []string{"/run", "/var/lib", Logs} {
		if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("failed to mount %s: %w", path, err)
		}
	}
	const kubelet = "/var/lib/kubelet"
	if err := bind(kubelet, kubelet); err != nil {
		return err
	}
	// The mounts of the node plugin must reach the kubelet and the pods.
	if err := syscall.Mount("", kubelet, "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return fmt.Errorf("failed to share the mounts below %s: %w", kubelet, err)
	}
	return s.mountPool()
}

// KeepLogs copies the logs to where they can be read when the sandbox is gone.
func (s Sandbox) KeepLogs() error {
	return exec.Command("cp", "-r", Logs+"/.", s.KeptLogs()).Run()
}

// dropForeignMounts lets go of the mounts of other programs: a copy of them in this namespace would keep their devices busy.
func dropForeignMounts() error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var foreign []string
	for line := range strings.Lines(string(table)) {
		mount, filesystem, _ := strings.Cut(line, " - ")
		fields, kind := strings.Fields(mount), strings.Fields(filesystem)
		if len(fields) < 5 || len(kind) < 2 {
			return fmt.Errorf("not understood in mountinfo: %q", line)
		}
		if strings.HasPrefix(kind[1], "/dev/loop") || strings.HasPrefix(kind[0], "fuse") || strings.HasPrefix(fields[4], "/tmp/") {
			foreign = append(foreign, fields[4])
		}
	}
	for _, path := range slices.Backward(foreign) {
		// It may be gone with a mount above it.
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("failed to let go of %s: %w", path, err)
		}
	}
	return nil
}

func bind(source, target string) error {
	for _, path := range []string{source, target} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	}
	if err := syscall.Mount(source, target, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("failed to bind %s to %s: %w", source, target, err)
	}
	return nil
}

// mountPool makes the filesystem that the driver's data directory is on. xfs can share blocks between files, and grows while
// it is mounted on every machine.
func (s Sandbox) mountPool() error {
	if err := os.WriteFile(s.PoolImage(), nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(s.PoolImage(), PoolSize); err != nil {
		return err
	}
	if err := os.MkdirAll(PoolMount, 0o755); err != nil {
		return err
	}
	for _, command := range [][]string{
		{"mkfs.xfs", "-q", s.PoolImage()},
		{"mount", "-o", "loop", s.PoolImage(), PoolMount},
	} {
		if output, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, output)
		}
	}
	return nil
}
