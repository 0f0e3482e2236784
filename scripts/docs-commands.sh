#!/usr/bin/env bash
# Prints the commands of the blocks in docs/ that the cluster tests run: those below "<!-- run: e2e NAME -->".
#   docs-commands.sh        every block, in the order of the documents, each after a line "# FILE: NAME"
#   docs-commands.sh NAME   the commands of one block, for bash
set -euo pipefail
cd "$(dirname "$0")/.."

awk -v wanted="${1:-}" '
	FNR == 1 { name = ""; inside = 0 }
	/^<!-- run: e2e [a-z-]+ -->$/ { name = $4; next }
	/^```/ {
		if (inside) { inside = 0; name = "" }
		else if (name != "" && (wanted == "" || wanted == name)) {
			inside = 1
			found++
			if (wanted == "") print "# " FILENAME ": " name
		}
		next
	}
	inside && /^[$#] / { print substr($0, 3) }
	END { exit found == 0 }
' docs/install.md docs/operate.md docs/troubleshoot.md docs/upgrade.md docs/uninstall.md
