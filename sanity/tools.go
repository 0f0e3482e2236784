//go:build tools

// Package sanity pins csi-sanity and the CSI specification.
package sanity

import _ "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"
