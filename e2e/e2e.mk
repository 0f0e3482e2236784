# Targets of the image and of the cluster that it is tested in. Everything is built from Go modules, once, into the cache.

IMAGES := $(CACHE)/images
IMAGE_VERSION := $(shell sed -nE 's/^version = "(.*)"/\1/p' Cargo.toml | head -n 1)
IMAGE_NAME ?= localhost/offshoot:$(IMAGE_VERSION)
OFFSHOOT ?= target/release/offshoot
KUBE_PROGRAMS := kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl
SIDECARS := csi-provisioner csi-attacher csi-resizer csi-snapshotter snapshot-controller
GO_STATIC := CGO_ENABLED=0 go

.PHONY: image

# --- programs

KUBE_MODULE := e2e/kube/go.mod e2e/kube/go.sum
KUBE_VERSION = $(shell sed -nE 's/^\tk8s.io\/kubernetes (v.*)/\1/p' e2e/kube/go.mod)
STAMP = k8s.io/component-base/version
KUBE_LDFLAGS = -s -w -X $(STAMP).gitVersion=$(KUBE_VERSION) -X $(STAMP).gitMajor=1 -X $(STAMP).gitMinor=$(word 2,$(subst ., ,$(KUBE_VERSION))) \
	-X $(STAMP).gitTreeState=clean -X $(STAMP).buildDate=1970-01-01T00:00:00Z

$(BIN)/kube: $(KUBE_MODULE) e2e/kube/main.go
	cd e2e/kube && $(GO_STATIC) build -trimpath -ldflags "$(KUBE_LDFLAGS)" -o ../../$@ .
	for program in $(KUBE_PROGRAMS); do ln -sf kube $(BIN)/$$program; done

$(BIN)/etcd: $(KUBE_MODULE)
	cd e2e/kube && $(GO_STATIC) build -trimpath -ldflags "-s -w" -o ../../$@ go.etcd.io/etcd/server/v3

$(BIN)/agnhost: $(KUBE_MODULE)
	cd e2e/kube && $(GO_STATIC) build -trimpath -ldflags "-s -w" -o ../../$@ k8s.io/kubernetes/test/images/agnhost

$(BIN)/e2e.test: $(KUBE_MODULE)
	cd e2e/kube && $(GO_STATIC) test -c -trimpath -ldflags "$(KUBE_LDFLAGS)" -o ../../$@ k8s.io/kubernetes/test/e2e

$(SIDECARS:%=$(BIN)/%): $(BIN)/%: e2e/sidecars/go.mod e2e/sidecars/go.sum
	cd e2e/sidecars && tool=$$(go list tool | grep "/$*$$") && \
		$(GO_STATIC) build -trimpath -ldflags "-s -w -X main.version=$$(go list -f '{{.Module.Version}}' $$tool)" -o ../../$@ $$tool

# The CustomResourceDefinitions of snapshots and group snapshots, as the module of the same version has them.
$(CACHE)/crds: e2e/sidecars/go.mod
	rm -rf $@
	cd e2e/sidecars && crds=$$(go list -m -f '{{.Dir}}' github.com/kubernetes-csi/external-snapshotter/client/v8)/config/crd && \
		cp -r $$crds ../../$@ && chmod -R u+w ../../$@
	touch $@

$(BIN)/pack: e2e/go.mod $(wildcard e2e/cmd/pack/*.go)
	cd e2e && go build -o ../$@ ./cmd/pack

$(BIN)/e2e: e2e/go.mod $(shell find e2e -name kube -prune -o -name sidecars -prune -o -type f -print)
	cd e2e && go build -o ../$@ ./cmd/e2e

# --- images

image: prerequisites $(BIN)/pack ## Build the container image, a tar for docker load, podman load or ctr image import
	cargo build --quiet --release
	$(MAKE) --no-print-directory $(IMAGES)/offshoot.tar

# Tools and libraries come from this machine's packages; the Dockerfile takes them from Debian's in the same way.
$(IMAGES)/offshoot.tar: $(OFFSHOOT) scripts/image-root.sh $(BIN)/pack
	@mkdir -p $(IMAGES)
	scripts/image-root.sh $(OFFSHOOT) $(CACHE)/image-root
	$(BIN)/pack -o $@ -name $(IMAGE_NAME) -root $(CACHE)/image-root -entrypoint /usr/bin/offshoot -user 65532:65532 \
		-label org.opencontainers.image.title=offshoot -label org.opencontainers.image.version=$(IMAGE_VERSION) \
		-label org.opencontainers.image.licenses=Apache-2.0
	rm -rf $(CACHE)/image-root

# The sidecars have the names that the chart asks for by default: only the node of the tests knows these images.
sidecar_image = registry.k8s.io/sig-storage/$(1):$(shell sed -nE 's/^.*kubernetes-csi\/external-$(2)\/v[0-9]+ (v[0-9.]+).*/\1/p' e2e/sidecars/go.mod)
$(SIDECARS:%=$(IMAGES)/%.tar): $(IMAGES)/%.tar: $(BIN)/% $(BIN)/pack
	@mkdir -p $(IMAGES)
	$(BIN)/pack -o $@ -name $(call sidecar_image,$*,$(patsubst csi-%,%,$(subst snapshot-controller,snapshotter,$*))) -file $<:$* -entrypoint /$* -user 65532:65532

# Further names are those that the tests of Kubernetes ask for, under a host of our own; of nginx and glibc-dns-testing they want a shell only.
$(IMAGES)/pause.tar: e2e/images/pause.c $(BIN)/pack
	@mkdir -p $(IMAGES)
	cc -static -O2 -s -o $(CACHE)/pause $<
	$(BIN)/pack -o $@ -name localhost/pause:e2e -name localhost/e2e/pause:3.10.2 -file $(CACHE)/pause:pause -entrypoint /pause
	rm -f $(CACHE)/pause

# Some tests give dd a flag that busybox does not know, so they get Debian's with its libraries, and a shell that has no dd of its own.
LIBRARIES = $(sort $(shell ldd /bin/dd /bin/bash | grep -o '/[^ ]*[^: ]' | grep /lib))
$(IMAGES)/busybox.tar: $(BIN)/pack e2e/e2e.mk
	@mkdir -p $(IMAGES)
	$(BIN)/pack -o $@ -name localhost/busybox:e2e -name localhost/e2e/busybox:1.37.0-2 -name localhost/e2e/nginx:1.27.0-2 -name localhost/e2e/glibc-dns-testing:2.1.1 -name registry.k8s.io/e2e-test-images/busybox:1.37.0-2 -busybox /bin/busybox -cmd sh \
		-file /bin/dd:bin/dd -file /bin/bash:bin/sh $(foreach file,$(LIBRARIES),-file $(file):$(patsubst /%,%,$(file)))

$(IMAGES)/agnhost.tar: $(BIN)/agnhost $(BIN)/pack
	@mkdir -p $(IMAGES)
	$(BIN)/pack -o $@ -name localhost/e2e/agnhost:2.66.1 -busybox /bin/busybox -file $<:agnhost -entrypoint /agnhost -cmd pause

# --- tests

CLUSTER := $(BIN)/kube $(BIN)/etcd $(BIN)/e2e $(HELM) $(CACHE)/crds $(patsubst %,$(IMAGES)/%.tar,pause busybox $(SIDECARS))

.PHONY: test-image test-e2e e2e e2e-external bench-pods

test-image: prerequisites-cluster image $(BIN)/kube $(BIN)/e2e $(BIN)/csi-sanity $(IMAGES)/pause.tar ## Run csi-sanity against the image under containerd
	$(BIN)/e2e image $(IMAGE_NAME)

test-e2e: prerequisites-cluster image $(CLUSTER) ## Run part of the scenarios in a real Kubernetes, as `make test` does
	$(BIN)/e2e run -bounded

e2e: prerequisites-cluster image $(CLUSTER) ## Run Offshoot in a real Kubernetes on this machine (ARGS="-profile single raw-block", -v)
	$(BIN)/e2e run $(ARGS)

bench-pods: prerequisites-cluster image $(CLUSTER) ## Start 50 pods with a volume each, and say what the time is spent on
	$(BIN)/e2e run -profile local pod-start

e2e-external: prerequisites-cluster image $(CLUSTER) $(BIN)/e2e.test $(IMAGES)/agnhost.tar ## Run the tests that Kubernetes has for storage drivers (ARGS="provisioning volumes")
	$(BIN)/e2e external $(ARGS)
