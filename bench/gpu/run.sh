#!/usr/bin/env bash
# Measures attention and copies on a machine with a card and none of our packages, from the bundle
# that tests/gpu/make_bundle.sh made, beside PyTorch and Triton where the machine's python3 has them.
# Takes less than nine minutes.
#
#     bench/gpu/run.sh [BUNDLE]     (default: bundle.tar.gz above this folder, or build/gpu-bundle's)
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

# The command of the peers, away from the bundle's libraries: in `peer_words`, empty without PyTorch.
find_peers() {
  peer_words=()
  if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    peer_words=(--peers env "LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}" python3 "$peers/attention_peers.py")
    report peers found 0 "$(python3 -c 'import torch, triton; print("PyTorch", torch.__version__, "Triton", triton.__version__)' 2>&1 | tail -1)"
  else
    report peers skipped 0 "python3 here has no PyTorch that sees the card"
  fi
}

open_bundle "${1:-}"
report_machine
if has_card; then
  find_peers
  # A kernel that fails takes the rest of its process along: a process for each group.
  bench_stage attention:decode 150 gpu-attention --groups decode "${peer_words[@]}"
  bench_stage attention:prefill 90 gpu-attention --groups prefill "${peer_words[@]}"
  bench_stage copy 120 gpu-copy
  for group in fp8 skew cascade; do bench_stage "attention:$group" 40 gpu-attention --groups "$group"; done
  bench_stage attention:prefill_hopper 60 gpu-attention --groups prefill_hopper
else
  for suite in gpu-attention gpu-copy; do skip_stage "$suite" reprise bench "$suite" --help; done
fi
for table in "${tables[@]}"; do printf '\n%s\n' "$table"; done
finish
