package deploy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"
	core "k8s.io/api/core/v1"
)

// flagsOf gives the names of the flags that args use; a gate counts as a flag of its own.
func flagsOf(args []string) []string {
	var found []string
	for _, arg := range args {
		if name, ok := strings.CutPrefix(arg, "--"); ok {
			name, value, _ := strings.Cut(name, "=")
			found = append(found, name)
			if name == gates {
				for _, gate := range strings.Split(value, ",") {
					gate, _, _ = strings.Cut(gate, "=")
					found = append(found, gates+"="+gate)
				}
			}
		}
	}
	return found
}

const gates = "feature-gates"

// CheckFlags finds arguments that a program does not know. known gives the flags of a container's program.
func CheckFlags(objects Objects, known func(container string) []string) []string {
	var found problems
	for _, it := range objects.drivers() {
		for _, container := range it.pod.Spec.Containers {
			flags := known(container.Name)
			if len(flags) == 0 {
				found.add("%s/%s: its flags are unknown", it.name, container.Name)
			}
			for _, flag := range flagsOf(container.Args) {
				if !slices.Contains(flags, flag) {
					found.add("%s/%s: it has no flag --%s", it.name, container.Name, flag)
				}
			}
			if hook := preStop(&container); hook != nil {
				for _, flag := range flagsOf(hook) {
					if !slices.Contains(known(hook[1]), flag) {
						found.add("%s/%s: %s has no flag --%s", it.name, container.Name, hook[1], flag)
					}
				}
			}
		}
	}
	return found
}

// preStop gives the command of a container's PreStop hook.
func preStop(container *core.Container) []string {
	if container.Lifecycle == nil || container.Lifecycle.PreStop == nil {
		return nil
	}
	return container.Lifecycle.PreStop.Exec.Command
}

// DriverFlags reads what `offshoot SUBCOMMAND --help` says.
func DriverFlags(binary, subcommand string) ([]string, error) {
	help, err := exec.Command(binary, subcommand, "--help").Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s --help: %w", binary, subcommand, err)
	}
	var found []string
	for _, match := range regexp.MustCompile(`(?m)^\s+(?:-\w, )?--([a-z][a-z0-9-]+)`).FindAllStringSubmatch(string(help), -1) {
		found = append(found, match[1])
	}
	return found, nil
}

// sidecar is where the flags of a sidecar are declared.
type sidecar struct{ module, folder string }

var sidecars = map[string]sidecar{
	"csi-provisioner": {"github.com/kubernetes-csi/external-provisioner/v6", "cmd/csi-provisioner"},
	"csi-attacher":    {"github.com/kubernetes-csi/external-attacher/v4", "cmd/csi-attacher"},
	"csi-resizer":     {"github.com/kubernetes-csi/external-resizer/v2", "cmd/csi-resizer"},
	"csi-snapshotter": {"github.com/kubernetes-csi/external-snapshotter/v8", "cmd/csi-snapshotter"},
}

// Those that cannot be had as modules, as their README says for the pinned version.
var written = map[string][]string{
	"node-driver-registrar": {"csi-address", "kubelet-registration-path", "plugin-registration-path", "http-endpoint", "health-port", "timeout", "mode", "v"},
	"liveness-probe":        {"csi-address", "http-endpoint", "metrics-address", "health-port", "probe-timeout", "v"},
}

// SidecarFlags reads the flags of a sidecar of one version from its source; the version is that of the image.
func SidecarFlags(name, version string) ([]string, error) {
	if flags := written[name]; flags != nil {
		return flags, nil
	}
	it, ok := sidecars[name]
	if !ok {
		return nil, fmt.Errorf("no sidecar %s", name)
	}
	dir, err := module(it.module, version)
	if err != nil {
		return nil, err
	}
	// klog's, through component-base.
	flags := []string{"v", "vmodule", "logging-format"}
	declared, err := declaredFlags(filepath.Join(dir, it.folder))
	if err != nil {
		return nil, err
	}
	common, err := commonFlags(dir)
	if err != nil {
		return nil, err
	}
	features, err := declaredGates(filepath.Join(dir, "pkg", "features"))
	if err != nil {
		return nil, err
	}
	return slices.Concat(flags, declared, common, features), nil
}

var gate = regexp.MustCompile(`featuregate\.Feature = "(\w+)"`)

// declaredGates finds the feature gates of a sidecar.
func declaredGates(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no feature gates in %s: %v", dir, err)
	}
	var found []string
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for _, match := range gate.FindAllStringSubmatch(string(text), -1) {
			found = append(found, gates+"="+match[1])
		}
	}
	return found, nil
}

// module gives the folder of a module in the module cache, which is filled when it must.
func module(name, version string) (string, error) {
	command := exec.Command("go", "mod", "download", "-json", name+"@"+version)
	command.Dir = os.TempDir()
	command.Env = append(os.Environ(), "GOFLAGS=")
	out, err := command.Output()
	var answer struct{ Dir, Error string }
	if err := cmp.Or(err, json.Unmarshal(out, &answer)); err != nil || answer.Error != "" {
		return "", fmt.Errorf("module %s@%s: %v %s", name, version, err, answer.Error)
	}
	return answer.Dir, nil
}

// commonFlags are those of csi-lib-utils, in the version that the module in dir uses.
func commonFlags(dir string) ([]string, error) {
	const utils = "github.com/kubernetes-csi/csi-lib-utils"
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return nil, err
	}
	file, err := modfile.ParseLax("go.mod", text, nil)
	if err != nil {
		return nil, err
	}
	for _, it := range file.Require {
		if it.Mod.Path == utils {
			folder, err := module(utils, it.Mod.Version)
			if err != nil {
				return nil, err
			}
			return declaredFlags(filepath.Join(folder, "standardflags"))
		}
	}
	return nil, fmt.Errorf("%s does not use %s", dir, utils)
}

// declaredFlags finds calls such as flag.Duration("timeout", ...) and flags.StringVar(&x, "timeout", ...).
func declaredFlags(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no sources in %s: %v", dir, err)
	}
	var found []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if flag := declaredFlag(node); flag != "" {
				found = append(found, flag)
			}
			return true
		})
	}
	return found, nil
}

func declaredFlag(node ast.Node) string {
	call, ok := node.(*ast.CallExpr)
	if !ok {
		return ""
	}
	function, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	on, ok := function.X.(*ast.Ident)
	if !ok || on.Name != "flag" && on.Name != "flags" {
		return ""
	}
	position := 0
	if strings.HasSuffix(function.Sel.Name, "Var") {
		position = 1
	}
	if len(call.Args) <= position {
		return ""
	}
	literal, ok := call.Args[position].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	name, err := strconv.Unquote(literal.Value)
	if err != nil {
		return ""
	}
	return name
}
