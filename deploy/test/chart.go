// Package deploy tests what deploy/ holds: the chart, what is rendered from it, the dashboard, the alerts and the documents.
//
// A check is a function from rendered objects to problems in words. Each is run on every rendering, where it must find
// nothing, and on a rendering with a planted mistake, where it must find that.
package deploy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"
)

// ChartDir is the chart, from this folder.
const ChartDir = "../helm/offshoot"

// Namespace is where everything is rendered for.
const Namespace = "offshoot-system"

// Snapshots is what a cluster with the snapshot add-on offers.
var Snapshots = []string{"snapshot.storage.k8s.io/v1", "groupsnapshot.storage.k8s.io/v1"}

// Case is one way to render the chart.
type Case struct {
	Name string
	// Values, as YAML.
	Values string
	// APIs that the cluster has beyond Kubernetes' own.
	APIs []string
	// Cluster is what `lookup` finds; nil is an empty cluster.
	Cluster engine.ClientProvider
}

// Render gives the chart's manifest, without the notes; the documents are in the order of their files.
func Render(c Case) (string, error) {
	loaded, err := loader.Load(ChartDir)
	if err != nil {
		return "", err
	}
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(c.Values), &values); err != nil {
		return "", fmt.Errorf("values of case %s: %w", c.Name, err)
	}
	return render(loaded, values, c)
}

func render(loaded *chart.Chart, values map[string]any, c Case) (string, error) {
	release := common.ReleaseOptions{Name: "offshoot", Namespace: Namespace, Revision: 1, IsInstall: true}
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.APIVersions = append(slices.Clone(capabilities.APIVersions), c.APIs...)
	all, err := util.ToRenderValues(loaded, values, release, capabilities)
	if err != nil {
		return "", err
	}
	var files map[string]string
	if c.Cluster == nil {
		files, err = engine.Render(loaded, all)
	} else {
		files, err = engine.RenderWithClientProvider(loaded, all, c.Cluster)
	}
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".yaml") && strings.TrimSpace(files[name]) != "" {
			fmt.Fprintf(&out, "---\n%s\n", strings.TrimSpace(files[name]))
		}
	}
	return tidy(out.String()), nil
}

// tidy removes blank lines and separators of nothing, which templates leave.
func tidy(manifest string) string {
	var lines []string
	for line := range strings.Lines(manifest) {
		line = strings.TrimRight(line, " \n")
		last := ""
		if len(lines) > 0 {
			last = lines[len(lines)-1]
		}
		if line == "" || line == "---" && last == "---" {
			continue
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n") + "\n"
}

// documents splits a manifest.
func documents(manifest string) []string {
	var all []string
	for _, document := range strings.Split("\n"+manifest, "\n---\n") {
		if strings.TrimSpace(document) != "" {
			all = append(all, document)
		}
	}
	return all
}

// values gives the chart's own values.
func chartValues() (map[string]any, error) {
	loaded, err := loader.Load(ChartDir)
	if err != nil {
		return nil, err
	}
	if loaded.Values == nil {
		return nil, errors.New("the chart has no values")
	}
	return loaded.Values, nil
}
