#!/usr/bin/env bash
# Runs the tests that need a card, on a machine that has one and none of our packages, from the
# bundle that make_bundle.sh made. Takes less than nine minutes.
#
#     tests/gpu/run.sh [BUNDLE]     (default: bundle.tar.xz above this folder, or build/gpu-bundle's)
#
# Results go to the folder $OUT (default: gpu-results): tests.jsonl, tests.log. Exit code 0: all
# passed; 1: something failed; 77: there is no card.
set -uo pipefail
name=tests
total_seconds=520
. "$(dirname "$0")/stages.sh"

# lists TEST WORD: whether it has cases whose names say WORD.
lists() {
  in_bundle "$1" --gtest_list_tests --gtest_filter="*$2*"
  "${words[@]}" </dev/null 2>/dev/null | grep -q "$2"
}

# A checker of NVIDIA's over the small cases of a test, where both are.
check_small() {
  local tool=$1 test=$2
  in_bundle "$test" --gtest_filter='*Small*-*OnHopper*'
  # All processes: the program is started by `env`, perhaps by another loader.
  words=("$checker" --tool "$tool" --target-processes all --error-exitcode 86 "${words[@]}")
  test_stage "$test:$tool" 70
}

open_bundle "${1:-}"
report_machine
checker=$(command -v compute-sanitizer ||
  compgen -G '/usr/local/cuda*/bin/compute-sanitizer' | head -1 || compgen -G '/usr/local/cuda*/compute-sanitizer/compute-sanitizer' | head -1)

while read -r seconds_of_test test; do
  if has_card; then
    in_bundle "$test" --gtest_filter='-*OnHopper*'
    test_stages "$test" "$seconds_of_test"
  else
    skip_stage "$test" "$test" --gtest_list_tests
  fi
done <"$bundle/tests.txt"

# By themselves: what a kernel on wgmma and TMA does wrong takes the rest of its process along. Not where
# the probe of these instructions says that they do something else than is thought: kernels that wait for
# what never comes would take the time of all that is left.
while read -r _ test; do
  has_card && lists "$test" OnHopper || continue
  if grep -q '^{"stage": "gpu_hopper_probe_test", "status": "\(failed\|late\)"' "$results"; then
    report "$test:hopper" skipped 0 "gpu_hopper_probe_test failed"
  else
    in_bundle "$test" --gtest_filter='*OnHopper*'
    test_stages "$test:hopper" 40
  fi
done <"$bundle/tests.txt"

for tool in memcheck racecheck; do
  while read -r _ test; do
    lists "$test" Small || continue
    if ! has_card; then
      report "$test:$tool" skipped 0 "no card"
    elif [ -z "$checker" ]; then
      report "$test:$tool" skipped 0 "no compute-sanitizer on this machine"
    else
      check_small "$tool" "$test"
    fi
  done <"$bundle/tests.txt"
done
finish
