#!/usr/bin/env bash
# Builds every fuzz target and runs each for a while: scripts/fuzz.sh [seconds, default 10]
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-10}
export RUSTC_BOOTSTRAP=1 # the stable compiler takes libFuzzer's instrumentation flags
target_dir=${CARGO_TARGET_DIR:-$PWD/fuzz/target}/fuzz

if ! cargo fuzz --version >/dev/null 2>&1; then
  # Unoptimised: it only starts the compiler.
  cargo install --locked --debug cargo-fuzz --target-dir "$target_dir/cargo-fuzz"
fi

# The sanitizer's runtime is not part of a stable toolchain; assertions and overflow checks are on.
flags=(--sanitizer none --target-dir "$target_dir" --fuzz-dir fuzz)
cargo fuzz build "${flags[@]}"

for target in $(cargo fuzz list --fuzz-dir fuzz); do
  echo "fuzz: $target, $seconds s"
  mkdir -p "fuzz/corpus/$target"
  cargo fuzz run "${flags[@]}" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    -max_total_time="$seconds" -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1 2>&1 |
    sed '/Recommended dictionary/,/End of recommended dictionary/d'
done
