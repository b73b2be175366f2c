#!/usr/bin/env bash
# The one list of Debian/Ubuntu packages that EdgeLLM needs, and how they are installed.
# Sourced by run.sh and test.sh; a new dependency is added here and nowhere else.

# To build and run the program.
packages_build=(
  g++ cmake ninja-build ccache pkg-config ca-certificates git
  nlohmann-json3-dev libcli11-dev libfmt-dev libpcre2-dev libutf8proc-dev libssl-dev libedit-dev
  libcurl4-openssl-dev libboost1.81-dev
)
# To run the tests as well: unit tests, property tests, and the arm64 build under emulation.
packages_test=(
  libgtest-dev librapidcheck-dev python3 nodejs npm
  g++-aarch64-linux-gnu qemu-user-static
)

# For the arm64 cross build: the same libraries for that architecture, where the system offers them.
packages_arm64=(
  libssl-dev:arm64 libpcre2-dev:arm64 libutf8proc-dev:arm64 libfmt-dev:arm64 libedit-dev:arm64 libgtest-dev:arm64
  librapidcheck-dev:arm64 libcurl4-openssl-dev:arm64
)

# as_root COMMAND...: runs it, by way of sudo where needed.
as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "error: this needs root: $*" >&2
    return 1
  fi
}

# Boost under its own version: Debian 12's default is too old for src/http. Later systems have it by no such name, and a
# default that is new enough.
if ! dpkg-query -W libboost1.81-dev >/dev/null 2>&1 && ! apt-cache show libboost1.81-dev >/dev/null 2>&1 &&
  apt-cache show libboost-dev >/dev/null 2>&1; then
  packages_build=("${packages_build[@]/libboost1.81-dev/libboost-dev}")
fi

# install_packages NAME...: installs what is missing and says so; does nothing when all is there.
install_packages() {
  local missing=() name
  for name in "$@"; do
    # Node may come from elsewhere than Debian's packages; what counts is that it runs.
    if [[ $name == nodejs || $name == npm ]] && command -v "${name/nodejs/node}" >/dev/null; then continue; fi
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [[ ${#missing[@]} -eq 0 ]] && return 0
  echo "installing Debian packages: ${missing[*]}" >&2
  as_root apt-get update -qq >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# install_arm64_packages: adds the architecture first; fails where the system's mirrors do not carry it.
install_arm64_packages() {
  if [[ $(dpkg --print-architecture) == arm64 ]]; then return 1; fi  # already there: the dev build is the arm64 build
  if ! dpkg --print-foreign-architectures | grep -qx arm64; then
    as_root dpkg --add-architecture arm64
    if ! as_root apt-get update -qq >&2 || ! apt-cache show libssl-dev:arm64 >/dev/null 2>&1; then
      as_root dpkg --remove-architecture arm64
      return 1
    fi
  fi
  install_packages "${packages_arm64[@]}"
}
