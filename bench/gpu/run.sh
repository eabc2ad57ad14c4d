#!/usr/bin/env bash
# Measures attention, copies and an engine with an 8B model on a machine with a card and none of our
# packages, from the bundle that tests/gpu/make_bundle.sh made, beside PyTorch, Triton and transformers
# where the machine's python3 has them, and FlashInfer where it lies beside the bundle. Takes less than
# nine minutes: what comes too late is left out, so on a slow card ask for some suites at a time.
#
#     bench/gpu/run.sh [BUNDLE [SUITE...]]     (default: bundle.tar.xz above this folder, or
#                                               build/gpu-bundle's; copy, attention, engine, peers)
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

# Peers that start after this do not see the bundle's libraries.
away_from_bundle() { peer_environment=("LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}"); }

# open_flashinfer: unpacks FlashInfer, if it was carried, for peers that start after this.
open_flashinfer() {
  local folder=$bundle/flashinfer detail
  if [ ! -e "$carried/flashinfer.tar.xz" ]; then
    report flashinfer skipped 0 "no flashinfer.tar.xz in $carried"
    return
  fi
  if ! unpack "$carried/flashinfer.tar.xz" "$folder" 2>>"$log"; then
    report flashinfer skipped 0 "flashinfer.tar.xz cannot be unpacked"
    return
  fi
  peer_environment+=("PYTHONPATH=$folder${PYTHONPATH:+:$PYTHONPATH}" "FLASHINFER_WORKSPACE_BASE=$folder")
  if detail=$(timeout "$(at_most 90)" env "${peer_environment[@]}" TVM_FFI_DISABLE_TORCH_C_DLPACK=1 \
    python3 -c 'import flashinfer; print(flashinfer.__version__)' 2>&1); then
    report flashinfer found 0 "$(tail -1 <<<"$detail")"
  else
    report flashinfer skipped 0 "python3 here cannot import it: $(tail -1 <<<"$detail")"
  fi
}

# find_peer SCRIPT LIBRARY...: the command of a peer, in `peer_environment`: in `peer_words`, empty
# without its libraries, the first of which is PyTorch.
find_peer() {
  local script=$1 begin=$SECONDS versions
  shift
  peer_words=()
  # Read from a disk for the first time they take a while.
  if versions=$(timeout "$(at_most 90)" env "${peer_environment[@]}" python3 - "$@" 2>>"$log" <<'END'
import importlib, sys
libraries = [importlib.import_module(name) for name in sys.argv[1:]]
assert libraries[0].cuda.is_available()
print(*(f"{library.__name__} {library.__version__}" for library in libraries))
END
  ); then
    peer_words=(--peers env "${peer_environment[@]}" python3 "$peers/$script")
    report "$script" found $((SECONDS - begin)) "$versions"
  else
    report "$script" skipped $((SECONDS - begin)) "python3 here has no $* that see the card"
  fi
}

# want_memory GIB: some virtual machines are given memory as they use it, and a store takes no more than
# the machine shows. Uses what is shown until it is so much, or no more comes.
want_memory() {
  timeout "$(at_most 60)" python3 - "$1" 2>>"$log" <<'END' || true
import sys, time

def shown(name):
    return next(int(line.split()[1]) << 10 for line in open("/proc/meminfo") if line.startswith(name + ":"))

taken, grew = [], time.monotonic()
while shown("MemAvailable") + (len(taken) << 28) < int(sys.argv[1]) << 30 and time.monotonic() - grew < 5:
    before = shown("MemTotal")
    if shown("MemAvailable") > max(2 << 30, before // 10):
        taken.append(b"x" * (1 << 28))
        grew = time.monotonic()
    else:
        time.sleep(0.2)
    if shown("MemTotal") > before:
        grew = time.monotonic()
END
}

# Each measures one suite. A kernel that fails takes the rest of its process along, and a process has its
# rows when it ends: one for each group.
measure_copy() {
  for group in blocks scattered interference crossover; do
    bench_stage "copy:$group" 60 gpu-copy --groups "$group"
  done
}
measure_attention() {
  for group in decode prefill; do bench_stage "attention:$group" 60 gpu-attention --groups "$group"; done
  for group in fp8 skew cascade; do bench_stage "attention:$group" 40 gpu-attention --groups "$group"; done
  bench_stage attention:prefill_hopper 60 gpu-attention --groups prefill_hopper
}
measure_engine() {
  for batch in 1 8 64; do bench_stage "engine:decode_$batch" 50 gpu-engine --groups "decode_$batch"; done
  for tokens in 1k 16k; do bench_stage "engine:ttft_$tokens" 60 gpu-engine --groups "ttft_$tokens"; done
  want_memory 48
  # Three prompts of 4.2e15 operations each: 36 seconds at 350 TFLOP/s, two minutes at 100.
  bench_stage engine:ttft_100k 240 gpu-engine --groups ttft_100k
}
# What has peers again, beside them: they take most of the time, and one that hangs takes our row along.
measure_peers() {
  away_from_bundle
  open_flashinfer
  find_peer attention_peers.py torch
  if [ "${#peer_words[@]}" -gt 0 ]; then
    bench_stage peers:attention_decode 150 gpu-attention --groups decode "${peer_words[@]}"
    for group in prefill prefill_hopper; do
      bench_stage "peers:attention_$group" 60 gpu-attention --groups "$group" "${peer_words[@]}"
    done
  fi
  away_from_bundle
  find_peer transformers_decode.py torch transformers
  [ "${#peer_words[@]}" -gt 0 ] || return 0
  for batch in 1 8 64; do
    bench_stage "peers:decode_$batch" 80 gpu-engine --groups "decode_$batch" "${peer_words[@]}"
  done
}

archive=${1:-}
suites=("${@:2}")
[ "${#suites[@]}" -gt 0 ] || suites=(copy attention engine peers)
for suite in "${suites[@]}"; do
  case $suite in
  copy | attention | engine | peers) ;;
  *)
    echo "no suite is called $suite; there are copy, attention, engine, peers" >&2
    exit 2
    ;;
  esac
done
open_bundle "$archive"
report_machine
for suite in "${suites[@]}"; do
  if has_card; then
    "measure_$suite"
  elif [ "$suite" != peers ]; then
    skip_stage "gpu-$suite" reprise bench "gpu-$suite" --help
  fi
done
for table in "${tables[@]}"; do printf '\n%s\n' "$table"; done
finish
