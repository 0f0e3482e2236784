// Package sandbox gives the cluster a machine of its own inside this one: namespaces for mounts, processes and the network,
// where /var/lib, /var/log and /run are its own too.
//
// Whatever happens to the run, Ctrl-C and SIGKILL included, the kernel ends the processes of the namespace and drops its
// mounts. What the kernel does not know to be ours (loop devices without autoclear, cgroups, settings of the kernel that
// the kubelet changes) is taken back by Run afterwards; what a killed Run left, the next one takes back.
package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Sandbox is one directory with everything that the cluster writes.
type Sandbox struct {
	// Dir gets the logs of the last run. While it runs, everything is in memory.
	Dir string
}

// PoolImage is the disk image whose filesystem holds the driver's data directory. Outside of the namespaces its name is all
// that can be seen of the path.
func (s Sandbox) PoolImage() string { return "/run/" + s.name() + ".img" }

// Cgroup is the parent of the cgroups of all pods, in every hierarchy.
func (s Sandbox) Cgroup() string { return s.name() }

// name belongs to this sandbox alone: others may run beside it.
func (s Sandbox) name() string {
	digest := sha256.Sum256([]byte(s.Dir))
	return "offshoot-e2e-" + hex.EncodeToString(digest[:6])
}

// KeptLogs is where the logs can be read when the sandbox is gone.
func (s Sandbox) KeptLogs() string { return filepath.Join(s.Dir, "log") }

func (s Sandbox) pidFile() string { return filepath.Join(s.Dir, "init.pid") }

// Run starts this program again as the first process of new namespaces, with these arguments, and waits for its end.
// What the run left on the machine is taken back, and returned as an error.
func (s Sandbox) Run(arguments ...string) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	s.takeBack()
	if err := s.clear(); err != nil {
		return err
	}
	settings := readKernelSettings()
	failed := s.runInit(arguments)
	left := s.takeBack()
	settings.restore()
	if len(left) > 0 {
		failed = errors.Join(failed, fmt.Errorf("left on the machine: %s", strings.Join(left, ", ")))
	}
	return errors.Join(failed, os.Remove(s.pidFile()))
}

// lock makes sure that there is one cluster at a time.
func (s Sandbox) lock() (func(), error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(s.Dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another run uses %s: %w", s.Dir, err), file.Close())
	}
	return func() { file.Close() }, nil
}

// clear removes what an earlier run wrote.
func (s Sandbox) clear() error {
	if err := os.RemoveAll(s.KeptLogs()); err != nil {
		return err
	}
	return os.MkdirAll(s.KeptLogs(), 0o755)
}

// runInit starts the first process of the namespaces. The first signal asks it to end, the second one ends everything.
func (s Sandbox) runInit(arguments []string) error {
	// The kernel kills the child when this thread ends, so the thread must not end before the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	init := exec.Command("/proc/self/exe", append([]string{"init", "-dir", s.Dir}, arguments...)...)
	init.Stdout, init.Stderr = os.Stdout, os.Stderr
	init.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true,
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := init.Start(); err != nil {
		return fmt.Errorf("failed to start in new namespaces (root is needed): %w", err)
	}
	if err := os.WriteFile(s.pidFile(), []byte(strconv.Itoa(init.Process.Pid)), 0o600); err != nil {
		return errors.Join(err, init.Process.Kill(), init.Wait())
	}
	ended := make(chan error, 1)
	go func() { ended <- init.Wait() }()
	asked := false
	for {
		select {
		case err := <-ended:
			if asked {
				err = errors.Join(err, context.Canceled)
			}
			return err
		case <-signals:
			if asked {
				fmt.Fprintln(os.Stderr, "e2e: ending everything")
				_ = init.Process.Kill()
				continue
			}
			asked = true
			fmt.Fprintln(os.Stderr, "e2e: stopping (again to end at once)")
			_ = init.Process.Signal(syscall.SIGTERM)
		}
	}
}

// Enter replaces this process by a command inside the namespaces of a running cluster.
func (s Sandbox) Enter(command []string) error {
	pid, err := os.ReadFile(s.pidFile())
	if err != nil {
		return fmt.Errorf("no cluster runs in %s: %w", s.Dir, err)
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return err
	}
	words := append([]string{"nsenter", "--target", string(pid), "--mount", "--pid", "--net", "--ipc", "--uts", "--"}, command...)
	return syscall.Exec(nsenter, words, os.Environ())
}
