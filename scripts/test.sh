#!/usr/bin/env bash
# Runs every layer of tests, whatever the ones before gave, and adds up what they say.
#
# Layers that this machine cannot run say so in a line that begins with "skipped:"; with CI=true that is a failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

results=.cache/results
rm -rf "$results"
mkdir -p "$results"
broken=()

# layer NAME COMMAND...: runs it, shows its output and keeps it.
layer() {
	local name=$1 began=$SECONDS
	shift
	echo "--- $name"
	if ! "$@" 2>&1 | tee "$results/$name.log"; then
		broken+=("$name")
	fi
	echo "--- $name: $((SECONDS - began)) s"
}

# sum PATTERN FILE...: adds up the numbers that the pattern captures.
sum() {
	local pattern=$1
	shift
	cat "$@" 2>/dev/null | sed -nE "s/$pattern/\1/p" | awk '{ total += $1 } END { print total + 0 }'
}

# count PATTERN FILE: how many lines match.
count() {
	grep -cE "$1" "$2" 2>/dev/null || true
}

layer rust cargo test --workspace --no-fail-fast
layer go bash -c 'cd sanity && go test -v ./...'
layer sanity make --no-print-directory test-sanity
layer deploy make --no-print-directory test-deploy
layer image make --no-print-directory test-image
layer e2e make --no-print-directory test-e2e

# Rust and Go count in their own words; every other layer closes with lines "NAME: N passed, N failed ...".
rust=$results/rust.log go=$results/go.log
mapfile -t others < <(find "$results" -name '*.log' ! -name rust.log ! -name go.log)
passed=$(($(sum '^test result: .* ([0-9]+) passed;.*' "$rust") + $(count '^ *--- PASS' "$go") + $(sum '^[a-z0-9-]+: ([0-9]+) passed, [0-9]+ failed.*' "${others[@]}")))
failed=$(($(sum '^test result: .* ([0-9]+) failed;.*' "$rust") + $(count '^ *--- FAIL' "$go") + $(sum '^[a-z0-9-]+: [0-9]+ passed, ([0-9]+) failed.*' "${others[@]}")))
left_out=$(cat "$results"/*.log | grep -c '^skipped:' || true)
skipped=$(($(sum '^test result: .* ([0-9]+) ignored;.*' "$rust") + $(count '^ *--- SKIP' "$go") + left_out))

if [ "$passed" -eq 0 ]; then
	broken+=("nothing ran")
fi
if [ "${CI:-}" = true ] && [ "$left_out" -gt 0 ]; then
	broken+=("something was left out, which CI does not allow")
fi
if [ ${#broken[@]} -gt 0 ]; then
	printf 'failed: %s\n' "${broken[@]}"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ ${#broken[@]} -eq 0 ]
