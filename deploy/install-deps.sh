#!/bin/sh
# Installs what building and testing Reprise needs on Debian 12. Run as root, or as a user who may
# use sudo. Does nothing, and needs no rights, when everything is installed already.
# Usage: deploy/install-deps.sh [--with-clang]    also clang and its sanitizers (tests/run.sh)
set -eu

# The one list of dependencies. python3-venv is for clients in Python (README), xz-utils for
# tests/gpu/make_bundle.sh.
PACKAGES="
  ca-certificates git
  cmake g++ lld ninja-build pkg-config
  libabsl-dev libxxhash-dev libdnnl-dev libhwy-dev
  librocksdb-dev liburing-dev libhiredis-dev
  libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc
  libboost1.81-dev prometheus-cpp-dev
  libcli11-dev libpcre2-dev libutf8proc-dev nlohmann-json3-dev libspdlog-dev libssl-dev
  libtomlplusplus-dev zlib1g-dev
  libgmock-dev libgtest-dev
  python3-venv xz-utils
"
# llvm: its symbolizer names what reports show and what tests/*.supp leave out.
CLANG_PACKAGES="clang libclang-rt-dev libomp-dev llvm"
ATTEMPTS=5

fail() {
  echo "install-deps.sh: $*" >&2
  exit 1
}

# Names on standard output those of "$@" that are not installed.
missing_of() {
  for package in "$@"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || echo "$package"
  done
}

check_system() {
  [ -r /etc/os-release ] || fail "this is not Debian 12: /etc/os-release is missing"
  system=$(. /etc/os-release && echo "${ID:-unknown} ${VERSION_ID:-unknown}")
  [ "$system" = "debian 12" ] || fail "needs Debian 12, this is $system"
}

# Runs apt-get with "$@" so that it never asks and waits for another apt to end.
apt() {
  $AS_ROOT env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" >/dev/null
}

case "${1:-}" in
  "") ;;
  --with-clang) PACKAGES="$PACKAGES $CLANG_PACKAGES" ;;
  *) fail "unknown argument '$1'" ;;
esac
check_system
MISSING=$(missing_of $PACKAGES)
[ -n "$MISSING" ] || exit 0

AS_ROOT=
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "not root and sudo is missing; to install:" $MISSING
  AS_ROOT=sudo
fi

echo "Installing" $MISSING
attempt=1
# A failed update is not the end: other archives of this machine may be the ones that failed.
until { apt update || true; } && apt install --no-install-recommends $MISSING; do
  [ "$attempt" -lt "$ATTEMPTS" ] || fail "apt-get failed $ATTEMPTS times; its messages are above"
  echo "install-deps.sh: apt-get failed, attempt $attempt of $ATTEMPTS; trying again" >&2
  attempt=$((attempt + 1))
  sleep 5
done

STILL_MISSING=$(missing_of $PACKAGES)
[ -z "$STILL_MISSING" ] || fail "apt-get succeeded, yet these are not installed:" $STILL_MISSING
