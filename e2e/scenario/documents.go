package scenario

// documented is what docs/ says, word for word: from a cluster without Offshoot to one without it. Each name is that of a
// block of commands there (scripts/docs-commands.sh); a test looks for them here.
func documented(t *T) {
	t.Must(t.Offshoot.Uninstall(t.Context))
	for _, block := range []string{"install", "namespace", "verify", "capacity", "logs", "upgrade", "uninstall"} {
		t.Must(t.Offshoot.Documented(t.Context, block))
	}
	t.Must(t.Offshoot.Install(t.Context))
	t.Must(t.Offshoot.WaitReady(t.Context))
}
