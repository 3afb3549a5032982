#!/usr/bin/env bash
# Fuzzes every target (crate push-fuzz) for SECONDS altogether, on all cores, and ends with a
# verdict in one line. `TARGETS="frame session"` picks some.
#
# Inputs that fuzzing found interesting are kept in fuzz/corpus, what breaks a target in
# fuzz/artifacts; neither is in the repository. What is: fuzz/seeds and fuzz/regressions.
source "$(dirname "$0")/lib.sh"

: "${FUZZ_SECONDS:=60}"
[[ $FUZZ_SECONDS =~ ^[1-9][0-9]*$ ]] || die "SECONDS=$FUZZ_SECONDS: want a number of seconds"
if ! "$CARGO" fuzz --version >/dev/null 2>&1; then
    say "Installing cargo-fuzz"
    "$CARGO" install --locked --quiet cargo-fuzz
fi
# Sanitizers and coverage are for nightly compilers; a stable one can be told to be one.
if cargo +nightly --version >/dev/null 2>&1; then
    fuzz=(cargo +nightly fuzz)
else
    export RUSTC_BOOTSTRAP=1
    fuzz=("$CARGO" fuzz)
fi
read -ra targets <<<"${TARGETS:-$("$CARGO" run --quiet --locked -p push-fuzz -- targets | tr '\n' ' ')}"

# Its flags are others than everybody's: a folder of its own.
builds=$(target_dir)/fuzz
mkdir -p "$build"
say "Building ${#targets[@]} targets"
"${fuzz[@]}" build --target-dir "$builds" >"$build/fuzz-build.log" 2>&1 || {
    tail -n 30 "$build/fuzz-build.log" >&2
    die "cargo fuzz build failed; the whole of it is in $build/fuzz-build.log"
}
binaries=$(dirname "$(find "$builds"/*/release -maxdepth 1 -type f -name "${targets[0]}" | head -n 1)")

# fuzz_one TARGET SECONDS: leaves what libFuzzer prints in LOGS.
fuzz_one() {
    mkdir -p "fuzz/corpus/$1" "fuzz/artifacts/$1"
    local folders=("fuzz/corpus/$1" "fuzz/seeds/$1")
    [[ -d fuzz/regressions/$1 ]] && folders+=("fuzz/regressions/$1")
    "$binaries/$1" -max_total_time="$2" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="fuzz/artifacts/$1/" "${folders[@]}" >"$logs/$1" 2>&1 ||
        touch "$logs/$1.broken"
}

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
jobs=$(nproc)
each=$(((FUZZ_SECONDS * jobs + ${#targets[@]} - 1) / ${#targets[@]}))
say "Fuzzing ${#targets[@]} targets for $each s each, $jobs at a time"
running=0
for target in "${targets[@]}"; do
    fuzz_one "$target" "$each" &
    if ((++running >= jobs)); then
        wait -n
        ((running -= 1)) || true
    fi
done
wait

executions=0 edges=0 crashes=0
for target in "${targets[@]}"; do
    count=$(sed -nE 's/^stat::number_of_executed_units: ([0-9]+).*/\1/p' "$logs/$target")
    covered=$(sed -nE 's/^#[0-9]+.* cov: ([0-9]+) .*/\1/p' "$logs/$target" | tail -n 1)
    ((executions += ${count:-0}, edges += ${covered:-0})) || true
    printf '  %-10s %9d executions, %5d edges covered\n' "$target" "${count:-0}" "${covered:-0}"
    if [[ -e $logs/$target.broken ]]; then
        ((crashes += 1))
        grep -aE -A 4 'panicked at|ERROR: |SUMMARY: ' "$logs/$target" | head -n 20 || true
        input=$(sed -nE 's/.*Test unit written to (.*)/\1/p' "$logs/$target" | tail -n 1)
        say "  replay it:  cargo run -p push-fuzz -- replay $target ${input:-FILE}"
        say "  keep it:    as a file of fuzz/regressions/$target/"
    fi
done
verdict="fuzz: ${#targets[@]} targets, $executions executions in $FUZZ_SECONDS s, $edges edges covered, crashes $crashes"
if ((crashes)); then
    die "$verdict"
fi
say "$verdict: passed"
