package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Root is the project, from this folder.
const Root = "../.."

// Block is one block of commands in a document, with the marker above it.
type Block struct {
	File     string
	Line     int
	Commands []string
	// Kind is run or not run; Rest is by whom, or why not.
	Kind, Rest string
}

var marker = regexp.MustCompile(`^<!-- (run|not run): (.+) -->$`)

// Blocks finds the blocks of commands in a document: those fenced as console, sh, bash or shell.
func Blocks(file, text string) []Block {
	var found []Block
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		language, ok := strings.CutPrefix(strings.TrimSpace(lines[i]), "```")
		if !ok {
			continue
		}
		block := Block{File: file, Line: i + 1}
		if i > 0 {
			if match := marker.FindStringSubmatch(strings.TrimSpace(lines[i-1])); match != nil {
				block.Kind, block.Rest = match[1], match[2]
			}
		}
		for i++; i < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[i]), "```"); i++ {
			line := strings.TrimSpace(lines[i])
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				block.Commands = append(block.Commands, command)
			} else if command, ok := strings.CutPrefix(line, "# "); ok {
				block.Commands = append(block.Commands, command)
			}
		}
		if slices.Contains([]string{"console", "sh", "bash", "shell"}, language) {
			found = append(found, block)
		}
	}
	return found
}

// CheckBlocks finds commands of which nobody knows whether they work. scenarios is the source of what `make e2e` runs.
func CheckBlocks(blocks []Block, scenarios string) []string {
	var found problems
	same := map[string][]string{}
	for _, it := range blocks {
		where := fmt.Sprintf("%s:%d", it.File, it.Line)
		runner, name, _ := strings.Cut(it.Rest, " ")
		switch {
		case it.Kind == "":
			found.add("%s: no line <!-- run: ... --> or <!-- not run: why --> above the commands", where)
		case len(it.Commands) == 0:
			found.add("%s: no command; each begins with $ or #", where)
		case it.Kind == "not run" && len(it.Rest) < 20:
			found.add("%s: %q is no reason", where, it.Rest)
		case it.Kind == "run" && runner == "e2e" && !strings.Contains(scenarios, `"`+name+`"`):
			found.add("%s: make e2e does not run %q", where, name)
		case it.Kind == "run" && runner == "e2e" && same[name] != nil && !slices.Equal(same[name], it.Commands):
			found.add("%s: make e2e runs another block %q", where, name)
		case it.Kind == "run" && !slices.Contains([]string{"e2e", "test", "ci"}, runner):
			found.add("%s: nobody is called %q", where, runner)
		case it.Kind == "run" && runner == "ci" && !runByCI(it.Commands):
			found.add("%s: CI runs only make lint and make test", where)
		}
		if runner == "e2e" {
			same[name] = it.Commands
		}
	}
	return found
}

// runByCI: what every change runs anyway.
func runByCI(commands []string) bool {
	return !slices.ContainsFunc(commands, func(command string) bool {
		command, _, _ = strings.Cut(command, "#")
		return !slices.Contains([]string{"make test", "make lint"}, strings.TrimSpace(command))
	})
}

// Documents are those whose commands are checked.
func Documents() ([]string, error) {
	found, err := filepath.Glob(filepath.Join(Root, "docs", "*.md"))
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "translation/README.md"} {
		found = append(found, filepath.Join(Root, name))
	}
	return found, nil
}

// Scenarios gives the source of what `make e2e` runs of the documents.
func Scenarios() (string, error) {
	text, err := os.ReadFile(filepath.Join(Root, "e2e", "scenario", "documents.go"))
	if os.IsNotExist(err) {
		return "", nil
	}
	return string(text), err
}

// RunCommand runs a command of a document in the project's folder, with what was built there before what is installed.
func RunCommand(command string) ([]byte, error) {
	root, err := filepath.Abs(Root)
	if err != nil {
		return nil, err
	}
	shell := exec.Command("bash", "-euo", "pipefail", "-c", command)
	shell.Dir = root
	path := filepath.Join(root, ".cache", "bin") + ":" + filepath.Join(root, "target", "debug") + ":" + os.Getenv("PATH")
	shell.Env = append(os.Environ(), "PATH="+path)
	return shell.CombinedOutput()
}
