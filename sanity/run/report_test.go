package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func report(t *testing.T, states map[string]int) counts {
	t.Helper()
	var specs []string
	for state, count := range states {
		for range count {
			specs = append(specs, fmt.Sprintf(`{"LeafNodeType":"It","State":%q}`, state))
		}
	}
	specs = append(specs, `{"LeafNodeType":"BeforeSuite","State":"passed"}`)
	path := filepath.Join(t.TempDir(), "report.json")
	text := `[{"SpecReports":[` + strings.Join(specs, ",") + `]}]`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readReport(path)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestOnlyACompleteRunIsGood(t *testing.T) {
	if err := check(report(t, map[string]int{"passed": 102, "pending": 1})); err != nil {
		t.Error(err)
	}
	for _, bad := range []map[string]int{
		{"passed": 101, "failed": 1, "pending": 1},
		{"passed": 101, "skipped": 1, "pending": 1},
		{"passed": 101, "pending": 1},
		{"passed": 101, "panicked": 1, "pending": 1},
		{"passed": 102},
		{},
	} {
		if check(report(t, bad)) == nil {
			t.Errorf("%v passed for a complete run", bad)
		}
	}
}

func TestAMissingReportIsAnError(t *testing.T) {
	if _, err := readReport(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing report was read")
	}
}
