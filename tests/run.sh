#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test: release, then address + undefined-behaviour
# sanitizers, then the thread sanitizer on the code that has threads. Usage: tests/run.sh [release|asan|tsan]...
set -euo pipefail
cd "$(dirname "$0")/.."
deploy/install-deps.sh

# Several tests run at once: an OpenMP thread that spins for work takes the core from another test.
export OMP_WAIT_POLICY=passive

# Tests of real processes (kill -9, ports) and of oneDNN's OpenMP threads say nothing more under tsan:
# libgomp is not instrumented. The store, the scheduler and the tokenizer are.
tsan_tests='^(cachestore|engine_sched|engine_tokenizer)_'

run() {
  local preset=$1
  shift
  echo "== $preset: configure and build"
  cmake --preset "$preset" >"build/$preset.configure.log" 2>&1 || { cat "build/$preset.configure.log"; exit 1; }
  cmake --build --preset "$preset" "$@"
}

presets=("$@")
[ ${#presets[@]} -gt 0 ] || presets=(release asan tsan)
mkdir -p build
for preset in "${presets[@]}"; do
  case "$preset" in
    tsan)
      run tsan --target tsan_tests
      selection=(-R "$tsan_tests")
      ;;
    release | asan)
      run "$preset"
      selection=()
      ;;
    *)
      echo "tests/run.sh: unknown preset '$preset' (release, asan, tsan)" >&2
      exit 2
      ;;
  esac
  echo "== $preset: test"
  TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp" \
    ctest --test-dir "build/$preset" --output-on-failure --parallel 2 --no-tests=error "${selection[@]}"
done
