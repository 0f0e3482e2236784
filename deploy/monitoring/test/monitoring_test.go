// Package monitoring tests the dashboard and the alerts against what a running driver exports. It has a module of its own,
// because Prometheus' parser brings newer versions of what helm and Kubernetes use.
package monitoring

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// Metrics that others export.
var others = []string{"up", "csi_sidecar_operations_seconds_count", "csi_sidecar_operations_seconds_bucket"}

// Labels that Prometheus adds (deploy/helm's ServiceMonitor), and those of histograms of calls.
var added = []string{"namespace", "pod", "node", "service", "endpoint", "le", "driver_name", "method_name", "grpc_status_code"}

// exported gives the metrics of a running driver, each with the labels of its samples.
var exported = sync.OnceValues(func() (map[string][]string, error) {
	binary := os.Getenv("OFFSHOOT_BIN")
	if binary == "" {
		binary = "../../../target/debug/offshoot"
	}
	dir, err := os.MkdirTemp("", "offshoot-monitoring-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	registry := filepath.Join(dir, "kubelet", "plugins_registry")
	if err := os.MkdirAll(registry, 0o755); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	listener.Close()
	driver := exec.Command(binary, "serve", "--backend=memory", "--node-id=n", "--log-level=off", "--endpoint=unix://"+dir+"/csi.sock",
		"--kubelet-dir="+dir+"/kubelet", "--registration-dir="+registry, "--metrics-address="+address)
	driver.Stderr = os.Stderr
	if err := driver.Start(); err != nil {
		return nil, err
	}
	defer func() {
		_ = driver.Process.Kill()
		_ = driver.Wait()
	}()
	return read("http://" + address + "/metrics")
})

var sample = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? `)
var label = regexp.MustCompile(`([a-z_]+)="`)

func read(url string) (map[string][]string, error) {
	var response *http.Response
	err := errors.New("not asked")
	for range 100 {
		if response, err = http.Get(url); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	found := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 4 && fields[1] == "TYPE" {
			names := []string{fields[2]}
			if fields[3] == "histogram" {
				names = []string{fields[2] + "_bucket", fields[2] + "_sum", fields[2] + "_count"}
			}
			for _, name := range names {
				found[name] = slices.Clone(added)
			}
		}
		if match := sample.FindStringSubmatch(line); match != nil {
			for _, it := range label.FindAllStringSubmatch(match[2], -1) {
				found[match[1]] = append(found[match[1]], it[1])
			}
		}
	}
	return found, nil
}

func metrics(t *testing.T) map[string][]string {
	t.Helper()
	found, err := exported()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for name, labels := range found {
		all[name] = labels
	}
	for _, name := range others {
		all[name] = added
	}
	return all
}

// check finds what is wrong with an expression: its syntax, names that nobody exports, labels that they do not have.
func check(expression string, known map[string][]string) []string {
	for variable, value := range map[string]string{"$__rate_interval": "5m", "$node": ".*"} {
		expression = strings.ReplaceAll(expression, variable, value)
	}
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		has, ok := known[selector.Name]
		if !ok {
			problems = append(problems, "nobody exports "+selector.Name)
		}
		for _, matcher := range selector.LabelMatchers {
			if ok && matcher.Name != labels.MetricName && !slices.Contains(has, matcher.Name) {
				problems = append(problems, fmt.Sprintf("%s has no label %s", selector.Name, matcher.Name))
			}
		}
		return nil
	})
	return problems
}

type rules struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

func alerts(t *testing.T) rules {
	t.Helper()
	text, err := os.ReadFile("../alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var found rules
	if err := yaml.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	return found
}

// expressions gives those of the dashboard, each under its panel's title.
func expressions(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			found[panel.Title] = append(found[panel.Title], target.Expr)
		}
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %s shows nothing", panel.Title)
		}
	}
	return found
}

func TestEveryAlertReadsWhatIsExported(t *testing.T) {
	known := metrics(t)
	for _, rule := range alerts(t).Groups[0].Rules {
		t.Run(rule.Alert, func(t *testing.T) {
			for _, problem := range check(rule.Expr, known) {
				t.Error(problem)
			}
			if rule.Annotations["summary"] == "" || !slices.Contains([]string{"critical", "warning"}, rule.Labels["severity"]) {
				t.Error("it does not say what is wrong, or how badly")
			}
		})
	}
}

func TestEveryPanelReadsWhatIsExported(t *testing.T) {
	known := metrics(t)
	for title, expressions := range expressions(t) {
		t.Run(title, func(t *testing.T) {
			for _, expression := range expressions {
				for _, problem := range check(expression, known) {
					t.Error(problem)
				}
			}
		})
	}
}

func TestPlantedMistakesAreFound(t *testing.T) {
	known := metrics(t)
	for expression, says := range map[string]string{
		"offshoot_storage_reachable == ":                   "parse error",
		"sum(offshoot_volumes":                             "parse error",
		"rate(offshoot_pool_available_bytes)":              "expected type range vector",
		"offshoot_storage_reachible == 0":                  "nobody exports offshoot_storage_reachible",
		"csi_plugin_operations_seconds > 1":                "nobody exports csi_plugin_operations_seconds",
		`offshoot_volumes{status="quarantined"} > 0`:       "offshoot_volumes has no label status",
		`rate(process_cpu_seconds[5m])`:                    "nobody exports process_cpu_seconds",
		`csi_sidecar_operations_seconds_total{x="y"} == 1`: "nobody exports csi_sidecar_operations_seconds_total",
	} {
		if problems := check(expression, known); !strings.Contains(strings.Join(problems, "; "), says) {
			t.Errorf("%s: %q", expression, problems)
		}
	}
}

// Every metric of the driver is shown, alerted on, or left out for a reason.
func TestNoMetricIsForgotten(t *testing.T) {
	found, err := exported()
	if err != nil {
		t.Fatal(err)
	}
	var used strings.Builder
	for _, expressions := range expressions(t) {
		used.WriteString(strings.Join(expressions, " "))
	}
	leftOut := []string{"process_virtual_memory_bytes", "process_start_time_seconds"} // say little about a driver
	for _, rule := range alerts(t).Groups[0].Rules {
		used.WriteString(" " + rule.Expr)
	}
	for name := range found {
		if !strings.Contains(used.String(), name) && !slices.Contains(leftOut, name) {
			t.Errorf("%s is neither on the dashboard nor in an alert", name)
		}
	}
}

// docs/operate.md says what each metric and each alert means.
func TestTheDocumentsExplainThem(t *testing.T) {
	text, err := os.ReadFile("../../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	found, err := exported()
	if err != nil {
		t.Fatal(err)
	}
	for name := range found {
		name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if !strings.Contains(string(text), "`"+name) {
			t.Errorf("docs/operate.md does not explain %s", name)
		}
	}
	for _, rule := range alerts(t).Groups[0].Rules {
		if !strings.Contains(string(text), "\n### "+rule.Alert+"\n") {
			t.Errorf("docs/operate.md has no section %s", rule.Alert)
		}
	}
	for _, match := range regexp.MustCompile("`(offshoot_[a-z_]+)").FindAllStringSubmatch(string(text), -1) {
		if _, ok := found[match[1]]; !ok {
			t.Errorf("docs/operate.md explains %s, which nobody exports", match[1])
		}
	}
}

// The sidecars' metric has its name from this function of csi-lib-utils; a renaming shows in its source.
func TestTheSidecarsMetricHasThisName(t *testing.T) {
	command := exec.Command("go", "mod", "download", "-json", "github.com/kubernetes-csi/csi-lib-utils@v0.25.0")
	command.Dir = os.TempDir()
	out, err := command.Output()
	var answer struct{ Dir string }
	if err := errors.Join(err, json.Unmarshal(out, &answer)); err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(answer.Dir, "metrics", "metrics.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"csi_sidecar"`, `"operations_seconds"`, `"method_name"`, `"grpc_status_code"`} {
		if !strings.Contains(string(source), part) {
			t.Errorf("no %s", part)
		}
	}
}
