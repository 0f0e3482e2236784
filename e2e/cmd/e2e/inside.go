package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"offshoot.dev/e2e/cluster"
	"offshoot.dev/e2e/external"
	"offshoot.dev/e2e/imagetest"
	"offshoot.dev/e2e/install"
	"offshoot.dev/e2e/runner"
	"offshoot.dev/e2e/sandbox"
	"offshoot.dev/e2e/scenario"
)

// inside does the work within the namespaces.
func inside(ctx context.Context, cache, deploy string, box sandbox.Sandbox, arguments []string) error {
	options := flag.NewFlagSet(arguments[0], flag.ExitOnError)
	bounded := options.Bool("bounded", false, "only those scenarios that `make test` runs")
	profiles := options.String("profile", "local,single,restricted", "local, single, or restricted: single with a controller that is not privileged")
	verbose := options.Bool("v", false, "print what is waited for, and how long")
	if err := options.Parse(arguments[1:]); err != nil {
		return err
	}
	c := &cluster.Cluster{
		Bin: filepath.Join(cache, "bin"), Images: filepath.Join(cache, "images"), LogDir: filepath.Join(sandbox.Logs, "cluster"),
		Cgroup: box.Cgroup(),
		Taints: install.StartupTaint + "=:NoExecute",
	}
	run := &runner.Runner{
		Cluster: c, Sandbox: box, Chart: filepath.Join(deploy, "helm", "offshoot"), Helm: filepath.Join(cache, "bin", "helm"),
		Artifacts: filepath.Join(box.Dir, "artifacts"), Print: say, Verbose: *verbose,
	}
	list := chosen(*bounded, options.Args())
	if arguments[0] == "again" {
		if err := c.Attach(ctx); err != nil {
			return err
		}
		return run.Again(ctx, strings.Split(*profiles, ",")[0], list)
	}
	defer func() {
		c.Down()
		if err := box.KeepLogs(); err != nil {
			say("e2e: the logs could not be kept: %v", err)
		}
	}()
	if arguments[0] == "image" {
		return imagetest.Run(ctx, c, box, options.Arg(0), filepath.Join(c.Bin, "csi-sanity"), say)
	}
	began := time.Now()
	if err := c.Up(ctx); err != nil {
		return err
	}
	if err := install.Addons(ctx, c.API, filepath.Join(cache, "crds")); err != nil {
		return err
	}
	say("e2e: cluster up after %.1f s", time.Since(began).Seconds())
	if arguments[0] == "external" {
		return runExternal(ctx, run, options.Args())
	}
	if arguments[0] == "up" {
		return stay(ctx, run, strings.Split(*profiles, ",")[0])
	}
	if err := os.RemoveAll(run.Artifacts); err != nil {
		return err
	}
	return run.Run(ctx, strings.Split(*profiles, ","), list)
}

func say(format string, arguments ...any) { fmt.Printf(format+"\n", arguments...) }

// stay installs Offshoot and waits for the end.
func stay(ctx context.Context, run *runner.Runner, profile string) error {
	offshoot := run.Offshoot(profile)
	if err := offshoot.Install(ctx); err != nil {
		say("e2e: %v", err)
	} else {
		say("e2e: Offshoot is installed; `e2e enter kubectl get pods -A`")
	}
	<-ctx.Done()
	return nil
}

// runExternal runs the tests that Kubernetes has for drivers of others.
func runExternal(ctx context.Context, run *runner.Runner, suites []string) error {
	offshoot := run.Offshoot("local")
	if err := errors.Join(offshoot.Install(ctx), offshoot.WaitReady(ctx)); err != nil {
		return err
	}
	// The definitions lie in the source tree, beside deploy.
	definitions := filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(run.Chart))), "e2e", "external")
	suite := external.Suite{
		Program: filepath.Join(run.Cluster.Bin, "e2e.test"), Definition: filepath.Join(definitions, "testdriver.yaml"),
		Images: filepath.Join(definitions, "images.yaml"), Reports: filepath.Join(sandbox.Logs, "external"), Say: say,
	}
	if err := suite.Run(ctx, suites); err != nil {
		return fmt.Errorf("%w; see %s", err, filepath.Join(run.Sandbox.KeptLogs(), "external"))
	}
	return nil
}

// chosen are the scenarios of these names, or all.
func chosen(bounded bool, names []string) []scenario.Scenario {
	var list []scenario.Scenario
	for _, s := range scenario.All {
		named := len(names) == 0 || strings.Contains(" "+strings.Join(names, " ")+" ", " "+s.Name+" ")
		if named && (s.Bounded || !bounded) {
			list = append(list, s)
		}
	}
	return list
}
