package install

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"offshoot.dev/e2e/cluster"
)

// Documented runs the commands of one block of docs/ as they stand there: in the project's folder, with helm and kubectl of
// the cache in place of the reader's.
func (o *Offshoot) Documented(ctx context.Context, block string) error {
	root := filepath.Dir(filepath.Dir(filepath.Dir(o.Chart)))
	commands, err := exec.CommandContext(ctx, filepath.Join(root, "scripts", "docs-commands.sh"), block).Output()
	if err != nil {
		return fmt.Errorf("no block %q in docs/: %w", block, err)
	}
	shell := exec.CommandContext(ctx, "bash", "-euxo", "pipefail", "-c", string(commands))
	shell.Dir = root
	shell.Env = append(os.Environ(), "KUBECONFIG="+cluster.Kubeconfig(), "HOME="+os.TempDir(), "NO_PROXY=*", "PATH="+filepath.Dir(o.Helm)+":"+os.Getenv("PATH"))
	if output, err := shell.CombinedOutput(); err != nil {
		return fmt.Errorf("block %q of docs/: %w: %s", block, err, strings.TrimSpace(string(output)))
	}
	return nil
}
