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

# layer NAME MINUTES COMMAND...: runs it, shows its output and keeps it. It is broken when it fails, takes longer, or leaves a
# process behind; such a process must not hold up the other layers, so they are not waited for through a pipe.
layer() {
	local name=$1 minutes=$2 began=$SECONDS log=$results/$1.log left
	shift 2
	echo "--- $name"
	timeout --kill-after=60 "${minutes}m" "$@" >"$log" 2>&1 &
	running=$!
	tail -n +1 --follow --sleep-interval=0.2 --pid="$running" "$log"
	wait "$running"
	case $? in
	0) ;;
	124 | 137) broken+=("$name: not done after $minutes minutes") ;;
	*) broken+=("$name") ;;
	esac
	# A job has a process group of its own.
	if left=$(pgrep --list-full --pgroup "$running"); then
		broken+=("$name: left running: $left")
		kill -KILL -- "-$running"
	fi
	running=
	echo "--- $name: $((SECONDS - began)) s"
}
set -m
running=
trap '[ -z "$running" ] || kill -- "-$running"' EXIT
trap 'exit 130' INT TERM

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

# The times are what a machine with nothing built yet may take at most.
layer rust 25 cargo test --workspace --no-fail-fast
layer go 10 bash -c 'cd sanity && go test -v ./...'
layer sanity 10 make --no-print-directory test-sanity
layer deploy 15 make --no-print-directory test-deploy
layer image 30 make --no-print-directory test-image
layer e2e 30 make --no-print-directory test-e2e

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
