#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test: the release build with kernels, engine, programs and
# benchmarks; nearly all under address + undefined-behaviour sanitizers, and the code that has threads under
# the thread sanitizer, both compiled by clang, which analyses thread safety by the way.
# Python packages for the tests of the Python client come from the network into build/venv.
#
# Usage: [REPRISE_MAY_SKIP=REGEX] tests/run.sh [release|asan|tsan]...
# Without names all three: about 40 minutes on 2 cores.
# A test that lacks something is skipped, and a line says what. With REPRISE_MAY_SKIP the run fails where
# a test is skipped whose name does not match it ("none": any).
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,10s/^# \{0,1\}//p' tests/run.sh; }

for argument in "$@"; do
  case "$argument" in
    release | asan | tsan) ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      echo "tests/run.sh: unknown preset '$argument' (release, asan, tsan)" >&2
      exit 2
      ;;
  esac
done

# Several tests run at once: an OpenMP thread that spins for work takes the core from another test.
export OMP_WAIT_POLICY=passive

run() {
  local preset=$1
  shift
  echo "== $preset: configure and build"
  cmake --preset "$preset" >"build/$preset.configure.log" 2>&1 || { cat "build/$preset.configure.log"; exit 1; }
  cmake --build --preset "$preset" "$@"
}

# What the tests of the Python package need (tests/python); without it they say that they were skipped.
install_for_python() {
  build/venv/bin/python -c \
    'import grpc_reflection, grpc_tools, hatchling, mypy, numpy, openai, prometheus_client, pytest, xxhash' \
    2>/dev/null && return
  python3 -m venv build/venv &&
    build/venv/bin/pip install --quiet --disable-pip-version-check --timeout 15 --retries 1 \
      grpcio grpcio-reflection grpcio-tools hatchling mypy numpy openai prometheus_client pytest \
      types-grpcio types-protobuf xxhash ||
    echo "tests/run.sh: pip cannot install packages; the tests of the Python package are skipped" >&2
}

# What reads the machine code of the CUDA kernels (tests/gpu); without it that check says it was skipped.
install_cuda_disassembler() {
  compgen -G 'build/venv/lib/python3*/site-packages/nvidia/*/bin/nvdisasm' >/dev/null && return
  build/venv/bin/pip install --quiet --disable-pip-version-check --timeout 15 --retries 1 \
    nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm ||
    echo "tests/run.sh: pip cannot install NVIDIA's disassembler; the check of machine code is skipped" >&2
}

# need_no_skips LOG: fails where ctest has skipped a test that may not be.
need_no_skips() {
  [ -n "${REPRISE_MAY_SKIP:-}" ] || return 0
  local skipped
  skipped=$(sed -nE 's/^.* Test +#[0-9]+: ([^ ]+) .*\*\*\*Skipped .*$/\1/p' "$1" |
    grep -vE -e "$REPRISE_MAY_SKIP") || return 0
  echo "tests/run.sh: skipped, and REPRISE_MAY_SKIP is '$REPRISE_MAY_SKIP':" $skipped >&2
  return 1
}

presets=("$@")
[ ${#presets[@]} -gt 0 ] || presets=(release asan tsan)
case " ${presets[*]} " in
  " release ") deploy/install-deps.sh ;;
  *) deploy/install-deps.sh --with-clang ;;
esac
mkdir -p build
install_for_python
install_cuda_disassembler
for preset in "${presets[@]}"; do
  case "$preset" in
    tsan)
      run tsan --target tsan_tests
      selection=(-L tsan)
      ;;
    release)
      run release --target reprise release_tests
      selection=(-LE '^sanitized$')
      ;;
    asan)
      run asan --target asan_tests
      selection=(-L asan)
      ;;
  esac
  echo "== $preset: test"
  TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp" LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp" \
    ctest --test-dir "build/$preset" --output-on-failure --parallel 2 --no-tests=error \
    "${selection[@]}" | tee "build/$preset.ctest.log"
  need_no_skips "build/$preset.ctest.log"
done
