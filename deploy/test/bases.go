package deploy

import "strings"

// Alerts are for every Prometheus; a chart can only read files of its own, so it has a copy.
const (
	Alerts      = "../monitoring/alerts.yaml"
	ChartAlerts = ChartDir + "/files/alerts.yaml"
)

const namespaceManifest = `apiVersion: v1
kind: Namespace
metadata:
  name: ` + Namespace + `
  labels:
    # The driver's pod on each node is privileged (docs/security.md).
    pod-security.kubernetes.io/enforce: privileged
`

const kustomization = `# Rendered from deploy/helm/offshoot by ` + "`make deploy-render`" + `; change the chart, not this.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - namespace.yaml
  - offshoot.yaml
labels:
  - pairs:
      app.kubernetes.io/managed-by: kustomize
    includeTemplates: true
`

// Base gives the files of a kustomize base: what the chart renders, without the hooks that only Helm runs.
func Base(manifest string) map[string]string {
	var kept strings.Builder
	for _, document := range documents(manifest) {
		if !strings.Contains(document, "helm.sh/hook") {
			kept.WriteString("---\n" + strings.TrimPrefix(document, "\n"))
			if !strings.HasSuffix(document, "\n") {
				kept.WriteString("\n")
			}
		}
	}
	return map[string]string{"kustomization.yaml": kustomization, "namespace.yaml": namespaceManifest, "offshoot.yaml": kept.String()}
}
