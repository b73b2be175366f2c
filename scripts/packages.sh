#!/usr/bin/env bash
# The one list of Debian/Ubuntu packages that EdgeLLM needs, and how they are installed.
# Sourced by run.sh and test.sh; a new dependency is added here and nowhere else.

# To build and run the program.
packages_build=(
  g++ cmake ninja-build ccache pkg-config ca-certificates git
  nlohmann-json3-dev libcli11-dev libfmt-dev libpcre2-dev libutf8proc-dev libssl-dev libedit-dev
)
# To run the tests as well: unit tests, property tests, and the arm64 build under emulation.
packages_test=(
  libgtest-dev librapidcheck-dev python3 nodejs npm
  g++-aarch64-linux-gnu qemu-user-static
)

# install_packages NAME...: installs what is missing and says so; does nothing when all is there.
install_packages() {
  local missing=() name
  for name in "$@"; do
    # Node may come from elsewhere than Debian's packages; what counts is that it runs.
    if [[ $name == nodejs || $name == npm ]] && command -v "${name/nodejs/node}" >/dev/null; then continue; fi
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [[ ${#missing[@]} -eq 0 ]] && return 0
  local sudo=()
  if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null || { echo "error: these packages are missing and need root to install: ${missing[*]}" >&2; return 1; }
    sudo=(sudo)
  fi
  echo "installing Debian packages: ${missing[*]}" >&2
  "${sudo[@]}" apt-get update -qq >&2
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}
