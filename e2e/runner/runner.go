// Package runner runs scenarios, keeps what explains a failure, and checks that nothing is left.
package runner

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"offshoot.dev/e2e/cluster"
	"offshoot.dev/e2e/install"
	"offshoot.dev/e2e/sandbox"
	"offshoot.dev/e2e/scenario"
)

// atOnce is how many scenarios run beside each other.
const atOnce = 3

// Runner is one run in one cluster.
type Runner struct {
	Cluster *cluster.Cluster
	Sandbox sandbox.Sandbox
	// Chart and Helm install Offshoot, Addons is the directory with the definitions of snapshots.
	Chart, Helm, Addons string
	// Artifacts gets what explains failures.
	Artifacts string
	// Print prints one line.
	Print func(format string, arguments ...any)
	// Verbose prints what was waited for too.
	Verbose bool

	mutex          sync.Mutex
	passed, failed int
}

// Run runs the scenarios in each profile, and says at the end how many passed.
func (r *Runner) Run(ctx context.Context, profiles []string, scenarios []scenario.Scenario) error {
	began := time.Now()
	for _, profile := range profiles {
		var mine []scenario.Scenario
		for _, s := range scenarios {
			if contains(s.Profiles, profile) {
				mine = append(mine, s)
			}
		}
		if len(mine) > 0 && ctx.Err() == nil {
			r.profile(ctx, profile, mine)
		}
	}
	r.Print("e2e: %d passed, %d failed in %.0f s", r.passed, r.failed, time.Since(began).Seconds())
	if r.failed > 0 || ctx.Err() != nil {
		return errors.Join(fmt.Errorf("%d scenarios failed; see %s", r.failed, r.Artifacts), ctx.Err())
	}
	return nil
}

// profile installs Offshoot, runs the scenarios, takes Offshoot away and looks for what is left.
func (r *Runner) profile(ctx context.Context, profile string, scenarios []scenario.Scenario) {
	offshoot := r.Offshoot(profile)
	if !r.step(profile, "installed", func() error {
		return errors.Join(offshoot.Install(ctx), offshoot.WaitReady(ctx))
	}) {
		return
	}
	var beside, alone []scenario.Scenario
	for _, s := range scenarios {
		if s.Alone {
			alone = append(alone, s)
		} else {
			beside = append(beside, s)
		}
	}
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for _, s := range beside {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			r.scenario(ctx, offshoot, s)
		})
	}
	all.Wait()
	for _, s := range alone {
		r.scenario(ctx, offshoot, s)
	}
	r.step(profile, "nothing-left", func() error { return r.leftovers(ctx) })
	r.step(profile, "removed", func() error {
		// The kubelet removes the logs of a pod with the pod.
		return errors.Join(r.Sandbox.KeepLogs(), offshoot.Uninstall(ctx), r.removed(ctx))
	})
}

// Again runs scenarios with what is installed, and leaves it there.
func (r *Runner) Again(ctx context.Context, profile string, scenarios []scenario.Scenario) error {
	offshoot := r.Offshoot(profile)
	for _, s := range scenarios {
		r.scenario(ctx, offshoot, s)
	}
	r.Print("e2e: %d passed, %d failed", r.passed, r.failed)
	return nil
}

// Offshoot is an installation in a profile.
func (r *Runner) Offshoot(profile string) *install.Offshoot {
	return &install.Offshoot{Profile: profile, Chart: r.Chart, Helm: r.Helm, API: r.Cluster.API}
}

// scenario runs one scenario in a namespace of its own, which is gone afterwards.
func (r *Runner) scenario(ctx context.Context, offshoot *install.Offshoot, s scenario.Scenario) {
	if ctx.Err() != nil {
		return
	}
	var figures []string
	t := &scenario.T{
		Context: ctx, Cluster: r.Cluster, Offshoot: offshoot, Namespace: s.Name,
		Report: func(format string, arguments ...any) { figures = append(figures, fmt.Sprintf(format, arguments...)) },
		Trace:  func(string, ...any) {},
	}
	if r.Verbose {
		t.Trace = r.Print
	}
	r.line(offshoot.Profile, s.Name, &figures, func() error {
		err := t.Do(s.Run)
		if err != nil {
			r.keep(offshoot.Profile+"-"+s.Name, err)
		}
		return errors.Join(err, t.CleanUp())
	})
}

// step is something that is not a scenario, but must work too.
func (r *Runner) step(profile, name string, do func() error) bool {
	return r.line(profile, name, nil, func() error {
		err := do()
		if err != nil {
			r.keep(profile+"-"+name, err)
		}
		return err
	})
}

func (r *Runner) line(profile, name string, figures *[]string, do func() error) bool {
	began := time.Now()
	err := do()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	verdict := "ok"
	if figures != nil && len(*figures) > 0 {
		verdict += " (" + strings.Join(*figures, ", ") + ")"
	}
	if err != nil {
		r.failed++
		verdict = "FAILED: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	} else {
		r.passed++
	}
	r.Print("e2e: %-6s  %-24s  %6.1f s  %s", profile, name, time.Since(began).Seconds(), verdict)
	return err == nil
}

// keep writes down what explains a failure.
func (r *Runner) keep(name string, err error) {
	directory := filepath.Join(r.Artifacts, name)
	if keepErr := collect(r.Cluster, directory, err); keepErr != nil {
		r.Print("e2e: not everything could be kept in %s: %v", directory, keepErr)
	}
}

func contains(list []string, wanted string) bool {
	for _, element := range list {
		if element == wanted {
			return true
		}
	}
	return false
}
