// Command run starts the driver in every combination that is promised, runs csi-sanity against each, and checks from its
// report that every spec passed and none was skipped; and that nothing is left behind and no secret was logged.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// combination is one run.
type combination struct {
	backend, data, access, fs string
	split                     bool
}

func (c combination) String() string {
	sockets := "joint"
	if c.split {
		sockets = "split"
	}
	return fmt.Sprintf("%-6s on %-6s %-5s %-5s %s", c.backend, c.data, c.access, c.fs, sockets)
}

// combinations are all runs that this process may do: without root only those in memory.
func combinations(root bool) []combination {
	all := []combination{
		{backend: "memory", data: "memory", access: "mount", fs: "ext4"},
		{backend: "memory", data: "memory", access: "block", fs: "ext4"},
	}
	if !root {
		return all
	}
	// NodeExpandVolume is among the specs, and a mounted ext4 grows only with a capability that some machines withhold.
	first := "ext4"
	if !canGrowExt4() {
		fmt.Println("sanity: volumes with ext4 are left out: growing them online needs CAP_SYS_RESOURCE")
		first = "xfs"
	}
	return append(all,
		combination{"file", "ext4", "mount", first, false},
		combination{"file", "ext4", "block", "ext4", true},
		combination{"file", "xfs", "mount", "xfs", true},
		combination{"file", "xfs", "block", "ext4", false},
		combination{"file", "btrfs", "mount", "btrfs", false},
		combination{"file", "btrfs", "block", "ext4", true},
		combination{"file", "tmpfs", "mount", "btrfs", true},
		combination{"file", "tmpfs", "block", "ext4", false},
	)
}

// canary stands in every secret, and must stand in no log.
const canary = "SECRETCANARY7f3a"

var secretKeys = []string{
	"CreateVolumeSecret", "DeleteVolumeSecret", "ControllerPublishVolumeSecret", "ControllerUnpublishVolumeSecret",
	"ControllerValidateVolumeCapabilitiesSecret", "NodeStageVolumeSecret", "NodePublishVolumeSecret",
	"CreateSnapshotSecret", "DeleteSnapshotSecret", "ListSnapshotsSecret", "GetSnapshotSecret",
	"ControllerExpandVolumeSecret", "ControllerModifyVolumeSecret",
}

func main() {
	driver := flag.String("driver", "", "the offshoot binary")
	sanity := flag.String("csi-sanity", "", "the csi-sanity binary")
	flag.Parse()
	started := time.Now()
	var sum counts
	failed := false
	for _, c := range combinations(os.Geteuid() == 0) {
		begin := time.Now()
		got, err := runOne(c, *driver, *sanity)
		sum.passed += got.passed
		sum.failed += got.failed
		sum.skipped += got.skipped
		sum.pending += got.pending
		verdict := got.String()
		if err != nil {
			failed = true
			verdict = "FAILED: " + err.Error()
		}
		fmt.Printf("sanity: %v  %5.1f s  %s\n", c, time.Since(begin).Seconds(), verdict)
	}
	fmt.Printf("sanity: %d passed, %d failed, %d skipped in %.0f s\n", sum.passed, sum.failed, sum.skipped,
		time.Since(started).Seconds())
	if failed {
		os.Exit(1)
	}
}

// runOne does one run in a directory of its own, and removes that.
func runOne(c combination, driver, sanity string) (got counts, err error) {
	dir, err := os.MkdirTemp("", "offshoot-sanity-")
	if err != nil {
		return counts{}, err
	}
	data := filepath.Join(dir, "data")
	defer func() {
		if c.backend == "file" {
			err = errors.Join(err, tool("umount", data))
		}
		if err == nil {
			err = os.RemoveAll(dir)
		} else {
			err = fmt.Errorf("%w (kept in %s)", err, dir)
		}
	}()
	if err := prepare(c, dir, data); err != nil {
		return counts{}, err
	}
	drivers, endpoints, err := startDrivers(c, dir, driver)
	if err == nil {
		err = runSanity(c, dir, sanity, endpoints)
	}
	for _, process := range drivers {
		err = errors.Join(err, stop(process))
	}
	if err == nil {
		got, err = readReport(filepath.Join(dir, "report.json"))
	}
	if err == nil {
		err = check(got)
	}
	return got, errors.Join(err, inspect(dir, data))
}

func prepare(c combination, dir, data string) error {
	for _, path := range []string{data, filepath.Join(dir, "kubelet")} {
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
	}
	var secrets strings.Builder
	for _, key := range secretKeys {
		fmt.Fprintf(&secrets, "%s:\n  key: %s\n", key, canary)
	}
	files := map[string]string{
		"secrets.yaml": secrets.String(),
		"class.yaml":   "provisioning: thin\n",
		"mutable.yaml": "readAheadKiB: \"256\"\ndirectIo: \"false\"\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if c.backend == "file" {
		return mountData(c.data, filepath.Join(dir, "image"), data)
	}
	return nil
}

// startDrivers starts one process, or one for each half; the first endpoint is the node's.
func startDrivers(c combination, dir, driver string) (started []*exec.Cmd, endpoints []string, err error) {
	modes := []string{"all"}
	if c.split {
		modes = []string{"controller", "node"}
	}
	for _, mode := range modes {
		socket := filepath.Join(dir, mode+".sock")
		process := exec.Command(driver, "serve", "--endpoint", "unix://"+socket, "--mode", mode, "--backend", c.backend,
			"--data-dir", filepath.Join(dir, "data", "offshoot"), "--kubelet-dir", filepath.Join(dir, "kubelet"),
			"--node-id", "sanity-node", "--max-volumes-per-node", "8", "--default-fs-type", c.fs)
		log, err := os.Create(filepath.Join(dir, mode+".log"))
		if err != nil {
			return started, nil, err
		}
		process.Stderr = log
		err = process.Start()
		log.Close()
		if err != nil {
			return started, nil, err
		}
		started = append(started, process)
		endpoints = append([]string{"unix://" + socket}, endpoints...)
		if err := answers(socket); err != nil {
			return started, nil, err
		}
	}
	return started, endpoints, nil
}

func answers(socket string) error {
	var err error
	for range 200 {
		var connection net.Conn
		if connection, err = net.Dial("unix", socket); err == nil {
			return connection.Close()
		}
		time.Sleep(25 * time.Millisecond)
	}
	return err
}

func runSanity(c combination, dir, sanity string, endpoints []string) error {
	at := func(name string) string { return filepath.Join(dir, name) }
	arguments := []string{
		"--csi.endpoint=" + endpoints[0],
		"--csi.mountdir=" + at("kubelet/mount"), "--csi.stagingdir=" + at("kubelet/stage"),
		"--csi.testvolumesize=1073741824", "--csi.testvolumeexpandsize=2147483648",
		"--csi.testvolumeaccesstype=" + c.access, "--csi.testnodevolumeattachlimit=true",
		"--csi.secrets=" + at("secrets.yaml"), "--csi.testvolumeparameters=" + at("class.yaml"),
		"--csi.testvolumemutableparameters=" + at("mutable.yaml"), "--ginkgo.json-report=" + at("report.json"),
	}
	if c.split {
		arguments = append(arguments, "--csi.controllerendpoint="+endpoints[1])
	}
	output, err := exec.Command(sanity, arguments...).CombinedOutput()
	if writeErr := os.WriteFile(at("csi-sanity.out"), output, 0o600); writeErr != nil {
		return writeErr
	}
	// What failed is in the report; without one, csi-sanity itself did.
	if _, statErr := os.Stat(at("report.json")); statErr != nil {
		return errors.Join(err, statErr)
	}
	return nil
}

// stop ends a driver as a kubelet does.
func stop(process *exec.Cmd) error {
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	ended := time.AfterFunc(30*time.Second, func() { process.Process.Kill() })
	defer ended.Stop()
	return process.Wait()
}

// inspect looks for what must not be left, and for secrets that were logged.
func inspect(dir, data string) error {
	var err error
	if left := leftovers(dir, data); len(left) > 0 {
		err = fmt.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for _, log := range logs {
		text, readErr := os.ReadFile(log)
		if readErr != nil || strings.Contains(string(text), canary) {
			err = errors.Join(err, readErr, fmt.Errorf("%s holds a secret, or cannot be read", filepath.Base(log)))
		}
	}
	return err
}
