package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noLink  = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// anchors gives what GitHub makes of the headings of a document.
func anchors(text string) []string {
	var found []string
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		plain := noLink.ReplaceAllString(strings.ToLower(match[1]), "")
		found = append(found, strings.ReplaceAll(plain, " ", "-"))
	}
	return found
}

// CheckLinks finds links of a document to files and sections that are not there.
func CheckLinks(name, text string) []string {
	var found problems
	for _, match := range link.FindAllStringSubmatch(text, -1) {
		if strings.Contains(match[1], "://") || strings.HasPrefix(match[1], "mailto:") {
			continue
		}
		path, section, _ := strings.Cut(match[1], "#")
		target := name
		if path != "" {
			target = filepath.Join(filepath.Dir(name), path)
		}
		info, err := os.Stat(target)
		if err != nil {
			found.add("%s: link to %s: %v", name, match[1], err)
			continue
		}
		if section == "" || info.IsDir() {
			continue
		}
		there, err := os.ReadFile(target)
		if err != nil || !slices.Contains(anchors(string(there)), section) {
			found.add("%s: link to %s: no such section", name, match[1])
		}
	}
	return found
}
