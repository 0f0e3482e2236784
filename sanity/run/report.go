package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// counts of the specs of one run of csi-sanity.
type counts struct {
	passed, failed, skipped, pending int
}

// expected is what csi-sanity v5.6.0 can give at best: one spec is pending upstream and never runs.
var expected = counts{passed: 102, pending: 1}

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped, %d pending", c.passed, c.failed, c.skipped, c.pending)
}

// readReport counts the specs in a JSON report of Ginkgo.
func readReport(path string) (counts, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return counts{}, err
	}
	var suites []struct {
		SpecReports []struct {
			LeafNodeType string
			State        string
		}
	}
	if err := json.Unmarshal(text, &suites); err != nil {
		return counts{}, err
	}
	var all counts
	for _, suite := range suites {
		for _, spec := range suite.SpecReports {
			if spec.LeafNodeType != "It" {
				continue
			}
			switch spec.State {
			case "passed":
				all.passed++
			case "skipped":
				all.skipped++
			case "pending":
				all.pending++
			default:
				all.failed++
			}
		}
	}
	return all, nil
}

// check says in what a run differs from what is expected.
func check(got counts) error {
	if got != expected {
		return fmt.Errorf("%v, expected %v", got, expected)
	}
	return nil
}
