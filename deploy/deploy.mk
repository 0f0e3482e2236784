# Targets of deploy/: the chart, what is rendered from it, and their tests.

HELM := $(BIN)/helm

$(HELM): deploy/test/go.mod deploy/test/go.sum
	cd deploy/test && go build -o ../../$@ helm.sh/helm/v4/cmd/helm
