#!/usr/bin/env bash
# Builds EdgeLLM and runs its tests. Installs the Debian/Ubuntu packages that are missing (scripts/packages.sh) and says so.
#
#   scripts/test.sh            the development build, every test
#   scripts/test.sh fast       the development build, the fast tests only (under a minute)
#   scripts/test.sh asan       fast tests and damaged files under the address and undefined-behaviour sanitizers
#   scripts/test.sh tsan       tests of what runs in threads, under the thread sanitizer
#   scripts/test.sh arm64      cross build, fast kernel and model tests under qemu, with and without the dot product extension
#   scripts/test.sh fuzz [S]   every fuzz target for S seconds (default 60)
#   scripts/test.sh all        dev, arm64, asan, tsan: what CI runs
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh

# build PRESET [TARGET...]: configures and builds; the log is shown when something fails.
build() {
  local preset=$1 log
  shift
  log=$(mktemp)
  echo "== building: $preset" >&2
  if ! { cmake --preset "$preset" && cmake --build --preset "$preset" ${1:+--target "$@"}; } >"$log" 2>&1; then
    grep -E -B2 -A12 'error|FAILED' "$log" | tail -n 80 >&2 || tail -n 80 "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

run_dev() {
  build dev
  ctest --preset dev -j "$(nproc)" "$@"
}

run_asan() {
  build asan
  # The program's other end-to-end tests drive terminals against the clock: they run in the development build.
  ctest --preset asan -j "$(nproc)" -E '^cli_'
  # Starting the program costs a quarter of a second here: fewer places than in the development build.
  EDGELLM_DAMAGES=150 ctest --test-dir build/asan -R '^cli_damage$' --output-on-failure
}

run_tsan() {
  build tsan base_fast_test backend_fast_test engine_fast_test e2e_fast_test http_fast_test hub_fast_test serve_fast_test api_fast_test
  ctest --preset tsan -R 'Cpu/|Sampler|Engine|Worker|Golden/|Batch/|ServerTest|WebSocketTest'
  # What models, answers and pulls share between threads: a minute or two.
  ctest --preset tsan -R '^(ServedModel|ResidencyTest|JsonLines|Metrics|Answering|ModelRoutesTest|StreamSession|PullTest)\.'
}

run_arm64() {
  if ! install_arm64_packages; then
    echo "== skipped: arm64 (this system does not offer arm64 packages beside its own)" >&2
    return 0
  fi
  build arm64 quant_fast_test backend_fast_test engine_fast_test e2e_fast_test
  # Two processors: one with the dot product extension, one (as in the Pi 3, 4 and Zero 2 W) without.
  local cpu
  for cpu in max cortex-a53; do
    echo "== arm64 tests on qemu's '$cpu'" >&2
    QEMU_CPU=$cpu ctest --preset arm64 -j "$(nproc)" -R 'Cpu/|Golden/|Stories|Engine|Codec|Activation'
  done
}

# fuzz SECONDS: each target from its seeds; a finding is a file under build/fuzz/findings.
run_fuzz() {
  local seconds=${1:-60} target findings=build/fuzz/findings
  install_packages clang libclang-rt-14-dev
  build fuzz
  mkdir -p "$findings"
  for target in build/fuzz/bin/*_fuzz; do
    local name corpus
    name=$(basename "$target" _fuzz)
    corpus=build/fuzz/corpus/$name
    mkdir -p "$corpus"
    echo "== fuzzing: $name, $seconds s" >&2
    "$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -artifact_prefix="$findings/$name-" \
      -print_final_stats=0 -verbosity=0 "$corpus" "tests/fuzz/seeds/$name"
  done
}

mode=${1:-dev}
case $mode in
  dev|fast|asan|tsan|arm64|fuzz|all) ;;
  *) sed -n '2,11p' "$0" >&2; exit 2 ;;
esac
install_packages "${packages_build[@]}" "${packages_test[@]}"
case $mode in
  dev) run_dev ;;
  fast) run_dev -L fast ;;
  asan) run_asan ;;
  tsan) run_tsan ;;
  arm64) run_arm64 ;;
  fuzz) run_fuzz "${2:-60}" ;;
  all)
    run_dev
    run_arm64
    run_asan
    run_tsan
    ;;
esac
