#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: builds, runs the CUDA backend's tests, measures, and writes the figures.
#
#   scripts/gpu-check.sh OUT.json                      everything
#   scripts/gpu-check.sh OUT.json --programs DIR       with programs that were built elsewhere (edgellm, backend_fast_test, e2e_fast_test)
#   scripts/gpu-check.sh OUT.json --shapes "A B"       measures these shapes only ("": none)
#   scripts/gpu-check.sh OUT.json --sanitize           the tests under compute-sanitizer as well (minutes)
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:?usage: scripts/gpu-check.sh OUT.json [--programs DIR] [--shapes "A B"] [--sanitize]}
shift
programs='' sanitize='' shapes='smollm-135m qwen2.5-0.5b llama-3.2-1b qwen2.5-1.5b bitnet-2b4t qwen2.5-3b llama-3.1-8b'
while [[ $# -gt 0 ]]; do
  case $1 in
    --programs) programs=$2; shift 2 ;;
    --shapes) shapes=$2; shift 2 ;;
    --sanitize) sanitize=1; shift ;;
    *) sed -n '2,7p' "$0" >&2; exit 2 ;;
  esac
done

if [[ -z $programs ]]; then
  source scripts/packages.sh
  install_packages "${packages_build[@]}" "${packages_test[@]}"
  # For the devices that are here, and nothing else.
  capabilities=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | tr -d . | sort -u | sed 's/^90$/90a/' | paste -sd ';')
  cmake --preset cuda -DEDGELLM_CUDA_ARCHITECTURES="$capabilities" >/dev/null
  cmake --build --preset cuda --target edgellm backend_fast_test e2e_fast_test
  programs=build/cuda/bin
fi

echo "== tests" >&2
"$programs/backend_fast_test" --gtest_filter='*Cuda*' --gtest_brief=1
"$programs/e2e_fast_test" --gtest_filter='*Cuda*' --gtest_brief=1
if [[ -n $sanitize ]]; then
  for tool in memcheck initcheck synccheck; do
    echo "== $tool" >&2
    compute-sanitizer --tool "$tool" --error-exitcode 1 "$programs/e2e_fast_test" --gtest_brief=1 \
      --gtest_filter='*LogitsAreThoseOfTheReference/int4_g128:*LogitsAreThoseOfTheReference/ternary'
  done
fi

results=()
for shape in $shapes; do
  echo "== $shape" >&2
  format=int4-g128
  if [[ $shape == bitnet* ]]; then format=ternary; fi
  file=$(mktemp)
  "$programs/edgellm" bench --shape "$shape" --format "$format" --backend cuda --contexts 128,384 --prefill 128,512,2040 \
    --tokens 64 --rounds 3 --itl 380 --json >"$file"
  results+=("$file")
done
if [[ ${#results[@]} -gt 0 ]]; then
  python3 - "$out" "${results[@]}" <<'PYTHON'
import json, sys
runs = [json.load(open(path)) for path in sys.argv[2:]]
json.dump(runs, open(sys.argv[1], "w"), indent=1)
for run in runs:
    prefill = ", ".join(f"{p['tok_s']['median']:.0f} at {p['tokens']}" for p in run["prefill"])
    print(f"{run['model']:14} between tokens {run['itl_ms']['p50']:.3f} ms ({1000 / run['itl_ms']['p50']:.0f} tok/s), p99 {run['itl_ms']['p99']:.3f}; prefill {prefill} tok/s")
PYTHON
fi
