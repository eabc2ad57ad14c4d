#!/usr/bin/env bash
# Fuzzes every decoder with libFuzzer (clang, address and undefined-behaviour sanitizers), starting
# from the corpus in tests/fuzz/corpus. Usage: tests/fuzz/run.sh [SECONDS PER TARGET, default 60]
# An input that ends a target is left in build/fuzz as crash-*: add it to the corpus with the fix.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
deploy/install-deps.sh
if ! command -v clang++ >/dev/null || ! ls /usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.fuzzer-x86_64.a >/dev/null 2>&1 ||
  ! [ -e /usr/lib/llvm-14/lib/libomp.so ]; then
  echo "tests/fuzz/run.sh needs: apt-get install clang libclang-rt-14-dev libomp-dev" >&2
  exit 1
fi
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target fuzzers
cd build/fuzz
for target in tests/fuzz/*_fuzz; do
  name=$(basename "$target" _fuzz)
  mkdir -p "corpus/$name"
  echo "== $name: $seconds s"
  if ! "$target" -max_total_time="$seconds" -max_len=8192 -print_final_stats=1 \
    "corpus/$name" "../../tests/fuzz/corpus/$name" >"$name.log" 2>&1; then
    tail -n 40 "$name.log"
    exit 1
  fi
  grep -E 'number_of_executed_units|new_units_added' "$name.log"
done
