// The command render writes the kustomize bases from the chart, and the alerts into the chart. It runs in deploy/test.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	deploy "offshoot.dev/deploy"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1)
	}
}

func run() error {
	for _, base := range deploy.Bases {
		manifest, err := deploy.Render(base)
		if err != nil {
			return err
		}
		dir := filepath.Join("..", "kustomize", base.Name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for name, text := range deploy.Base(manifest) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				return err
			}
		}
		fmt.Println(filepath.Clean(dir))
	}
	alerts, err := os.ReadFile(deploy.Alerts)
	if err != nil {
		return err
	}
	return os.WriteFile(deploy.ChartAlerts, alerts, 0o644)
}
