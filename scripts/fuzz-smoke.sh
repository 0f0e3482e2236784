#!/usr/bin/env bash
# Lets every fuzz target search for FUZZ_SECONDS (30) from its seeds on, and prints what came of it.
#
# With coverage but without sanitizers, which need a nightly compiler: the code is safe Rust, and libFuzzer's own limits
# find what hangs or eats memory.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

cargo_fuzz=$1
seconds=${FUZZ_SECONDS:-30}
logs=../.cache/results/fuzz
rm -rf "$logs"
mkdir -p "$logs"

# RUSTC_BOOTSTRAP lets the stable compiler take the flags of libFuzzer's instrumentation.
RUSTC_BOOTSTRAP=1 "$cargo_fuzz" build --sanitizer none
built=target/$(rustc -vV | sed -n 's/^host: //p')/release
mapfile -t targets < <(sed -nE 's,^path = "fuzz_targets/(.*)\.rs",\1,p' Cargo.toml)

# one TARGET: what it finds is kept below artifacts/, what it learns below corpus/.
one() {
	mkdir -p "corpus/$1" "artifacts/$1"
	"$built/$1" "corpus/$1" "seeds/$1" -max_total_time="$seconds" -timeout=2 -rss_limit_mb=512 \
		-artifact_prefix="artifacts/$1/" -print_final_stats=1 >"$logs/$1.log" 2>&1 || echo "crashed: $1" >>"$logs/$1.log"
}
export -f one
export built seconds logs
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -c 'one {}'

# stat NAME LOG: the number that libFuzzer prints at the end.
stat() {
	sed -nE "s/^stat::$1: +([0-9]+)$/\1/p" "$2"
}

inputs=0 crashes=0 slowest=0 memory=0
for target in "${targets[@]}"; do
	log=$logs/$target.log
	count=$(stat number_of_executed_units "$log")
	printf '%-20s %10s inputs\n' "$target" "${count:-0}"
	inputs=$((inputs + ${count:-0}))
	slow=$(stat slowest_unit_time_sec "$log") rss=$(stat peak_rss_mb "$log")
	[ "${slow:-0}" -gt "$slowest" ] && slowest=$slow
	[ "${rss:-0}" -gt "$memory" ] && memory=$rss
	if grep -q '^crashed:' "$log" || [ "${count:-0}" -eq 0 ]; then
		crashes=$((crashes + 1))
		echo "$target: see $log; again: cd fuzz && RUSTC_BOOTSTRAP=1 cargo fuzz run -s none $target artifacts/$target/..."
	fi
done
echo "the slowest input took $slowest s, the largest target $memory MiB"
echo "fuzz-smoke: ${#targets[@]} targets, $inputs inputs, $crashes crashes"
[ "$crashes" -eq 0 ]
