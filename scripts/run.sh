#!/usr/bin/env bash
# Builds EdgeLLM and talks to the bundled model. Installs the Debian/Ubuntu packages that are missing and says so.
#
#   scripts/run.sh                       a conversation at the terminal
#   scripts/run.sh "Tell me a story"     one answer on standard output
#   scripts/run.sh --verbose "Hello"     options of `edgellm run` pass through (scripts/run.sh --help lists them)
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/packages.sh

install_packages "${packages_build[@]}"

# build: the release preset, program only. On a terminal the current step is shown on one line of standard error.
build() {
  cmake --preset release -Wno-dev
  NINJA_STATUS='[%f/%t] ' cmake --build --preset release --target edgellm
}

log=build/release.log
mkdir -p build
if [[ ! -x build/release/bin/edgellm ]]; then echo "building EdgeLLM: a few minutes, this once" >&2; fi
show() {
  local line
  while IFS= read -r line; do
    printf '%s\n' "$line" >>"$log"
    if [[ -t 2 && $line == \[*/*\]* ]]; then printf '\r\033[K%s' "${line%%]*}]" >&2; fi
  done
  if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
}
: >"$log"
# Standard input belongs to the program, not to the build.
if ! build </dev/null 2>&1 | show; then
  tail -n 40 "$log" >&2
  echo "error: the build failed: the whole log is $PWD/$log" >&2
  exit 1
fi

program=$PWD/build/release/bin/edgellm
cd "$here"
exec "$program" run demo "$@"
