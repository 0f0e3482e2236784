// Package external runs the tests that Kubernetes has for storage drivers of others (External.Storage in its e2e.test), and
// counts what passed, what failed and what was skipped, with the reasons.
package external

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"offshoot.dev/e2e/cluster"
)

// suites are begun in this order, the longest first: each is one run of e2e.test. The last two run alone.
var suites = []string{
	"multiVolume should concurrently", "multiVolume should access", "subPath", "provisioning", "volume-expand", "snapshottable", "ephemeral",
	"volume-modify", "fsgroupchangepolicy", "volumes", "volumeMode", "volumegroupsnapshottable", "topology",
	"volume-modify-stress", "volumeIO", "read-write-once-pod", "disruptive", capacity, serial,
}

// capacity waits a minute for the provisioner, which has each class of every other test to tell the capacity of.
const capacity = "capacity"

// serial is the run of all tests that want the cluster for themselves.
const serial = "[Serial]"

// leftOut are tests that cannot pass here, by what their names contain, and why.
var leftOut = []struct{ name, reason string }{
	{"[Disruptive]", "stops the kubelet by systemd, which is not here (kubelet-restarted of make e2e restarts it)"},
	{"volume-modify-stress [FeatureGate:VolumeAttributesClass] [Feature:VolumeAttributesClass] multiple pods should modify",
		"changes claims that no pod uses, which a class that waits for its first consumer never binds"},
	{"volumegroupsnapshottable [Feature:volumegroupsnapshot]",
		"restores into claims of 1 MiB, and the smallest xfs has 300 (group-snapshot of make e2e restores)"},
	{"with any volume data source", "needs the images of a populator and a validator, which are not here"},
}

// atOnce is how many runs of e2e.test go on at a time.
const atOnce = 8

// Suite is what runs the tests in a cluster with Offshoot installed.
type Suite struct {
	// Program is e2e.test, Definition the description of the driver, Images where its images are.
	Program, Definition, Images string
	// Reports gets the output of each run.
	Reports string
	Say     func(format string, arguments ...any)
}

// outcome is that of all tests so far.
type outcome struct {
	sync.Mutex
	passed   int
	failures []string
	skipped  map[string]int
}

// Run runs these suites, or all.
func (s Suite) Run(ctx context.Context, chosen []string) error {
	began := time.Now()
	if len(chosen) == 0 {
		chosen = suites
	}
	if err := os.MkdirAll(s.Reports, 0o755); err != nil {
		return err
	}
	all := &outcome{skipped: map[string]int{}}
	places := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for _, suite := range chosen {
		if suite == serial || suite == capacity {
			running.Wait()
		}
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			if ctx.Err() == nil {
				s.one(ctx, suite, all)
			}
		})
	}
	running.Wait()
	for _, failure := range all.failures {
		s.Say("external: failed: %s", failure)
	}
	skips := 0
	for _, reason := range slices.Sorted(maps.Keys(all.skipped)) {
		s.Say("external: %d skipped: %s", all.skipped[reason], reason)
		skips += all.skipped[reason]
	}
	s.Say("external: %d passed, %d failed, %d skipped in %.0f s", all.passed, len(all.failures), skips, time.Since(began).Seconds())
	if len(all.failures) > 0 || all.passed == 0 {
		return fmt.Errorf("%d tests failed", len(all.failures))
	}
	return ctx.Err()
}

// one runs one suite.
func (s Suite) one(ctx context.Context, suite string, all *outcome) {
	began := time.Now()
	name := strings.Trim(strings.ReplaceAll(suite, " ", "-"), "[]")
	report := filepath.Join(s.Reports, name+".json")
	command := exec.CommandContext(ctx, s.Program,
		"-kubeconfig="+cluster.Kubeconfig(), "-provider=skeleton", "-storage.testdriver="+s.Definition, "-repo-root="+filepath.Dir(s.Definition),
		"-ginkgo.focus="+focus(suite), "-ginkgo.skip="+skip(suite), "-ginkgo.json-report="+report,
		"-ginkgo.timeout=2h", "-ginkgo.no-color", "-num-nodes=1", "-minStartupPods=0", "-e2e-verify-service-account=false")
	command.Env = append(os.Environ(), "KUBE_TEST_REPO_LIST="+s.Images, "NO_PROXY=*")
	output, runErr := os.Create(filepath.Join(s.Reports, name+".log"))
	if runErr == nil {
		command.Stdout, command.Stderr = output, output
		runErr = command.Run()
		output.Close()
	}
	specs, err := read(report)
	all.Lock()
	defer all.Unlock()
	if err != nil {
		all.failures = append(all.failures, fmt.Sprintf("%s: no report: %v (%v)", suite, err, runErr))
		return
	}
	passed, failed, skipped := 0, 0, 0
	for _, it := range specs {
		switch {
		case it.LeafNodeType != "It" || !belongs(it.name(), suite):
		case it.State == "passed":
			passed++
		case it.State == "skipped":
			skipped++
			all.skipped[cmp.Or(it.Failure.Message, whyLeftOut(it.name()))]++
		default:
			failed++
			all.failures = append(all.failures, fmt.Sprintf("%s: %s: %s", suite, it.name(), firstLine(it.Failure.Message)))
		}
	}
	all.passed += passed
	s.Say("external: %-32s %6.1f s  %3d passed, %d failed, %d skipped", suite, time.Since(began).Seconds(), passed, failed, skipped)
}

// prefix is what the names of our driver's tests contain.
const prefix = "External Storage [Driver: offshoot.dev]"

// belongs tells whether a test is one of a suite's.
func belongs(name, suite string) bool {
	if !strings.Contains(name, prefix) {
		return false
	}
	if suite == serial {
		return strings.Contains(name, serial)
	}
	return strings.Contains(name, "] "+suite+" ") && !strings.Contains(name, serial)
}

func whyLeftOut(name string) string {
	for _, it := range leftOut {
		if strings.Contains(name, it.name) {
			return it.reason
		}
	}
	return ""
}

// focus and skip are what e2e.test is told to choose a suite.
func focus(suite string) string {
	if suite == serial {
		return regexp.QuoteMeta(prefix) + ".*" + regexp.QuoteMeta(serial)
	}
	return regexp.QuoteMeta(prefix) + ".*" + regexp.QuoteMeta("] "+suite+" ")
}

func skip(suite string) string {
	var all []string
	if suite != serial {
		all = append(all, regexp.QuoteMeta(serial))
	}
	for _, it := range leftOut {
		all = append(all, regexp.QuoteMeta(it.name))
	}
	return strings.Join(all, "|")
}

// spec is one test in a report.
type spec struct {
	ContainerHierarchyTexts    []string
	LeafNodeType, LeafNodeText string
	State                      string
	Failure                    struct{ Message string }
}

func (s spec) name() string {
	return strings.Join(append(slices.Clone(s.ContainerHierarchyTexts), s.LeafNodeText), " ")
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func read(report string) ([]spec, error) {
	text, err := os.ReadFile(report)
	if err != nil {
		return nil, err
	}
	var runs []struct{ SpecReports []spec }
	if err := json.Unmarshal(text, &runs); err != nil {
		return nil, err
	}
	var all []spec
	for _, run := range runs {
		all = append(all, run.SpecReports...)
	}
	return all, nil
}
