#!/usr/bin/env bash
# The fault and stress tests of the store in their full form (tests/run.sh runs the short one): kill -9
# 500 times with ample and 500 times with tight disk, every disk operation failing in turn, bit rot,
# readers against the evictor for ten minutes under the thread sanitizer, and all fuzzers; and of the
# service: 250 kills -9 of clients and 250 of servers in the middle of transfers.
# About an hour on 2 cores. Usage: tests/faults.sh [kill|service|disk|race|fuzz]...
set -euo pipefail
cd "$(dirname "$0")/.."
deploy/install-deps.sh
export REPRISE_FULL_FAULTS=1

build() {
  local preset=$1
  shift
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset" --target "$@"
}

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(kill service disk race fuzz)
for part in "${parts[@]}"; do
  echo "== $part"
  case "$part" in
    kill)
      build release crash_kill_test
      build/release/tests/crash_kill_test
      ;;
    service)
      build release process_service_kill_test
      build/release/tests/process_service_kill_test
      ;;
    disk)
      tests=(cachestore_store_bit_rot_test cachestore_store_disk_fault_sweep_test cachestore_tier_disk_tier_fault_test)
      build release "${tests[@]}"
      for test in "${tests[@]}"; do "build/release/tests/$test"; done
      ;;
    race)
      tests=(cachestore_store_contended_key_test cachestore_store_store_stress_test)
      build tsan "${tests[@]}"
      for test in "${tests[@]}"; do
        TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp" "build/tsan/tests/$test"
      done
      ;;
    fuzz)
      tests/fuzz/run.sh 60
      ;;
    *)
      echo "tests/faults.sh: unknown part '$part' (kill, service, disk, race, fuzz)" >&2
      exit 2
      ;;
  esac
done
