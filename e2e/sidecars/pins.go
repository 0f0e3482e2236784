//go:build pins

// Package pins keeps in go.mod what is only built, never imported here.
package pins

// The module carries the CustomResourceDefinitions in config/crd.
import _ "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
