#!/usr/bin/env bash
# Installs every Debian 12 package that Cairn needs to build, test and run. Non-interactive, idempotent: a second run
# finds everything in place and returns at once, without touching the network.
set -euo pipefail

packages=(
  # compiler and build
  clang-19 clang-tidy-19 clang-format-19 libclang-rt-19-dev lld-19 llvm-19 cmake ninja-build ccache pkg-config git
  # libraries
  libasio-dev libcrypto++-dev libleveldb-dev liberasurecode-dev libisal-dev catch2 libssl-dev libprotobuf-dev
  protobuf-compiler libzstd-dev zlib1g-dev libfmt-dev libspdlog-dev libcli11-dev nlohmann-json3-dev libtoml11-dev libfuse3-dev
  libqrencode-dev
  # used by the tests and by people
  fuse3 spin iproute2 openssl python3 attr acl rsync strace e2fsprogs
)
# Hashes side by side; Debian has it for x86 only.
[ "$(dpkg --print-architecture)" != amd64 ] || packages+=(libipsec-mb-dev)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ "${#missing[@]}" -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup: needs root to install: ${missing[*]}" >&2; exit 1; }
  exec sudo --preserve-env=DEBIAN_FRONTEND "$0" "$@"
fi
export DEBIAN_FRONTEND=noninteractive
echo "setup: installing ${missing[*]}" >&2
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
