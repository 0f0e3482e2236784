package deploy

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func allBlocks(t *testing.T) []Block {
	t.Helper()
	names, err := Documents()
	if err != nil {
		t.Fatal(err)
	}
	var found []Block
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, Blocks(strings.TrimPrefix(name, Root+"/"), string(text))...)
	}
	return found
}

func TestEveryCommandInTheDocumentsIsRunOrSaysWhyNot(t *testing.T) {
	scenarios, err := Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	blocks := allBlocks(t)
	if len(blocks) < 10 {
		t.Errorf("only %d blocks of commands", len(blocks))
	}
	for _, problem := range CheckBlocks(blocks, scenarios) {
		t.Error(problem)
	}
}

func TestCommandsThatNobodyRunsAreFound(t *testing.T) {
	for text, says := range map[string]string{
		"```console\n$ true\n```":                                                                        "no line <!-- run",
		"<!-- run: test -->\n\n```console\n$ true\n```":                                                  "no line <!-- run",
		"<!-- run: test -->\n```bash\ntrue\n```":                                                         "no command",
		"<!-- not run: later -->\n```console\n$ true\n```":                                               "no reason",
		"<!-- run: e2e install -->\n```console\n$ true\n```":                                             `make e2e does not run "install"`,
		"<!-- run: e2e remove -->\n```console\n$ a\n```\n<!-- run: e2e remove -->\n```console\n$ b\n```": "runs another block",
		"<!-- run: somebody -->\n```console\n$ true\n```":                                                "nobody is called",
		"<!-- run: ci -->\n```console\n$ make test\n$ make run\n```":                                     "CI runs only",
		"text\n<!-- not run: a -->\n```sh\n# true\n```\n```yaml\na: b\n```":                              "no reason",
	} {
		problems := CheckBlocks(Blocks("a.md", text), `documents("remove")`)
		if len(problems) != 1 || !strings.Contains(problems[0], says) {
			t.Errorf("%q: %q", text, problems)
		}
	}
}

// The blocks that are marked so are run here; they need no cluster.
func TestCommandsOfTheDocuments(t *testing.T) {
	ran := 0
	for _, block := range allBlocks(t) {
		if block.Kind != "run" || block.Rest != "test" {
			continue
		}
		for _, command := range block.Commands {
			t.Run(command, func(t *testing.T) {
				if output, err := RunCommand(command); err != nil {
					t.Errorf("%s: %v\n%s", block.File, err, output)
				}
			})
			ran++
		}
	}
	if ran == 0 {
		t.Error("no document has a command that is run here")
	}
	if _, err := RunCommand("helm template offshoot deploy/helm/offshoot --set nonsense=1 | cat"); err == nil {
		t.Error("a command that fails is not noticed")
	}
}

// Links within the documents, and to sections of them.
func TestLinksLeadSomewhere(t *testing.T) {
	names, err := Documents()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range CheckLinks(name, string(text)) {
			t.Error(problem)
		}
	}
	planted := "[a](nowhere.md) [b](../../README.md#no-such-section) [c](https://example.com/x)"
	if problems := CheckLinks("docs_test.go", planted); len(problems) != 2 {
		t.Errorf("%q", problems)
	}
}

// What the values say that documents explain is there.
func TestValuesNameDocumentsThatExist(t *testing.T) {
	values, err := os.ReadFile(ChartDir + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`docs/[a-z]+\.md`).FindAllString(string(values), -1) {
		if _, err := os.Stat(Root + "/" + name); err != nil {
			t.Error(err)
		}
	}
}
