package scenario

// documented is what docs/ says, word for word: from a cluster without Offshoot to one without it. Each name is that of a
// block of commands there (scripts/docs-commands.sh); a test looks for them here.
func documented(t *T) {
	t.Must(t.Offshoot.Uninstall(t.Context))
	t.follow("install", "namespace", "verify", "capacity", "logs")
	// Snapshots are as they are by default here: where groups are not allowed, the rights of a node are fewer.
	restored(t)
	t.DeletePods("writer", "reader")
	t.deleteVolumes("data", "copy")
	t.follow("upgrade", "uninstall")

	t.follow("kustomize")
	t.Must(t.Offshoot.WaitReady(t.Context))
	t.Apply(claim{name: "data", size: "64Mi"}, pod{name: "writer", claims: []string{"data"}})
	t.WaitRunning("writer")
	t.DeletePods("writer")
	t.deleteVolumes("data")
	t.follow("kustomize-uninstall")

	t.Must(t.Offshoot.Install(t.Context))
	t.Must(t.Offshoot.WaitReady(t.Context))
}

// follow runs the commands of these blocks.
func (t *T) follow(blocks ...string) {
	for _, block := range blocks {
		t.Must(t.Offshoot.Documented(t.Context, block))
	}
}
