#!/usr/bin/env bash
# Shows the output of `go test -v`, and closes with the line that scripts/test.sh adds up: "NAME: N passed, N failed".
set -euo pipefail
awk -v name="$1" '
	{ print }
	/^ *--- PASS/ { passed++ }
	/^ *--- FAIL/ { failed++ }
	END { printf "%s: %d passed, %d failed\n", name, passed, failed }
'
