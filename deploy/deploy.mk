# Targets of deploy/: the chart, what is rendered from it, and their tests.

HELM := $(BIN)/helm

$(HELM): deploy/test/go.mod deploy/test/go.sum
	cd deploy/test && go build -o ../../$@ helm.sh/helm/v4/cmd/helm

.PHONY: deploy-render test-deploy docs-commands

deploy-render: ## Render deploy/kustomize from the chart
	cd deploy/test && go run ./cmd/render

test-deploy: $(HELM) ## Test chart, dashboard, alerts and documents against driver and sidecars (UPDATE=-update: golden files)
	cargo build --quiet
	$(HELM) lint --strict --quiet deploy/helm/offshoot
	set -o pipefail; { failed=0; (cd deploy/test && go test -count=1 -v ./... $(UPDATE)) || failed=1; \
		(cd deploy/monitoring/test && go test -count=1 -v ./...) || failed=1; exit $$failed; } | scripts/count-go.sh deploy

docs-commands: ## Print the commands of docs/ that the cluster tests run
	@scripts/docs-commands.sh
