# Targets of deploy/: the chart, what is rendered from it, and their tests.

HELM := $(BIN)/helm

$(HELM): deploy/test/go.mod deploy/test/go.sum
	cd deploy/test && go build -o ../../$@ helm.sh/helm/v4/cmd/helm

.PHONY: deploy-render test-deploy

deploy-render: ## Render deploy/kustomize from the chart
	cd deploy/test && go run ./cmd/render

test-deploy: ## Test what the chart renders, against the driver and the sidecars' own flags (UPDATE=-update: golden files)
	cargo build --quiet
	set -o pipefail; cd deploy/test && go test -v ./... $(UPDATE) | ../../scripts/count-go.sh deploy
