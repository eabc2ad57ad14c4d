#!/usr/bin/env bash
# Measures attention, copies and an engine with an 8B model on a machine with a card and none of our
# packages, from the bundle that tests/gpu/make_bundle.sh made, beside PyTorch, Triton and transformers
# where the machine's python3 has them. Takes less than nine minutes: what comes too late is left out,
# so on a slow card ask for some suites at a time.
#
#     bench/gpu/run.sh [BUNDLE [SUITE...]]     (default: bundle.tar.gz above this folder, or
#                                               build/gpu-bundle's; all of attention, copy, engine)
#
# Results go to the folder $OUT (default: gpu-results): bench.jsonl with every row, bench.log. Exit
# code 0: measured, whether goals were met or not (the tables say); 1: something failed; 77: there is
# no card.
set -uo pipefail
name=bench
total_seconds=520
. "$(dirname "$0")/../../tests/gpu/stages.sh"

tables=()

# bench_stage STAGE SECONDS SUITE ARGUMENT...: exit code 1 is a missed goal where there are rows.
bench_stage() {
  local stage=$1 limit=$2 suite=$3 rows missed before
  shift 3
  before=$(wc -l <"$results")
  in_bundle reprise bench "$suite" --json "$results" "$@"
  timed "$stage" "$limit"
  rows=$(($(wc -l <"$results") - before))
  missed=$(tail -n +$((before + 1)) "$results" | grep -c '"pass":false')
  if [ "$code" = 124 ] || [ "$code" = 137 ]; then
    report "$stage" late "$seconds" "stopped after $limit s"
  elif [ "$rows" = 0 ]; then
    report "$stage" failed "$seconds" "exit code $code; $(tail -1 "$printed")"
  else
    report "$stage" measured "$seconds" "$rows rows, $missed missed their goals"
    tables+=("$(sed -n '/^metric /,$p' "$printed")")
  fi
}

# find_peer SCRIPT LIBRARY...: the command of a peer, away from the bundle's libraries: in `peer_words`,
# empty without its libraries, the first of which is PyTorch.
find_peer() {
  local script=$1 libraries
  shift
  peer_words=()
  libraries=$(printf ', %s' "$@")
  if python3 -c "import ${libraries#, }; assert torch.cuda.is_available()" 2>/dev/null; then
    peer_words=(--peers env "LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}" python3 "$peers/$script")
    report "$script" found 0 "$(for library in "$@"; do
      python3 -c "import $library; print('$library', $library.__version__)" 2>/dev/null
    done | tr '\n' ' ')"
  else
    report "$script" skipped 0 "python3 here has no $* that see the card"
  fi
}

# Each measures one suite. A kernel that fails takes the rest of its process along: a process for each
# group.
measure_attention() {
  find_peer attention_peers.py torch
  bench_stage attention:decode 150 gpu-attention --groups decode "${peer_words[@]}"
  bench_stage attention:prefill 90 gpu-attention --groups prefill "${peer_words[@]}"
  for group in fp8 skew cascade; do bench_stage "attention:$group" 40 gpu-attention --groups "$group"; done
  bench_stage attention:prefill_hopper 60 gpu-attention --groups prefill_hopper
}
measure_copy() { bench_stage copy 120 gpu-copy; }
measure_engine() {
  find_peer transformers_decode.py torch transformers
  for batch in 1 8 64; do
    bench_stage "engine:decode_$batch" 80 gpu-engine --groups "decode_$batch" "${peer_words[@]}"
  done
  bench_stage engine:ttft_1k 60 gpu-engine --groups ttft_1k
  bench_stage engine:ttft_100k 170 gpu-engine --groups ttft_100k
  bench_stage engine:ttft_16k 80 gpu-engine --groups ttft_16k
}

archive=${1:-}
suites=("${@:2}")
[ "${#suites[@]}" -gt 0 ] || suites=(copy attention engine)
for suite in "${suites[@]}"; do
  case $suite in
  attention | copy | engine) ;;
  *)
    echo "no suite is called $suite; there are attention, copy, engine" >&2
    exit 2
    ;;
  esac
done
open_bundle "$archive"
report_machine
for suite in "${suites[@]}"; do
  if has_card; then
    "measure_$suite"
  else
    skip_stage "gpu-$suite" reprise bench "gpu-$suite" --help
  fi
done
for table in "${tables[@]}"; do printf '\n%s\n' "$table"; done
finish
