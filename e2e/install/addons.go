package install

import _ "embed"

//go:embed snapshot-controller.yaml
var snapshotController string
