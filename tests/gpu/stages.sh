# What tests/gpu/run.sh and bench/gpu/run.sh have in common; sourced by them. Opens the bundle that
# make_bundle.sh made, runs programs of it whatever the machine's libc, and runs stages: each with a
# time limit of its own, all within one. Results are JSON lines in $OUT/NAME.jsonl, what the stages
# print is in $OUT/NAME.log, and a table comes last. The caller sets `name` and `total_seconds`.

readonly kNoCard=77
readonly kMostRests=3
readonly kStageFields='%-44s %-9s %6s  %s\n'

# unpack ARCHIVE.tar.xz FOLDER: by python3 on a machine without xz.
unpack() {
  mkdir -p "$2"
  if command -v xz >/dev/null; then
    tar -xJf "$1" -C "$2"
  elif command -v python3 >/dev/null; then
    python3 -m tarfile -e "$1" "$2"
  else
    echo "$1 cannot be unpacked: there is neither xz nor python3" >&2
    return 1
  fi
}

# open_bundle [BUNDLE]: unpacks it and sets `bundle` to where, `carried` to the folder that it lies in;
# sets `results` and `log`.
open_bundle() {
  local archive=${1:-}
  local root
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  if [ -z "$archive" ]; then
    archive=$root/bundle.tar.xz
    [ -e "$archive" ] || archive=$root/build/gpu-bundle/bundle.tar.xz
  fi
  if [ ! -e "$archive" ]; then
    echo "no bundle at $archive: make it by tests/gpu/make_bundle.sh, or name it" >&2
    exit 2
  fi
  local out=${OUT:-gpu-results}
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
  log=$out/$name.log
  results=$out/$name.jsonl
  : >"$log"
  : >"$results"
  carried=$(dirname "$archive")
  bundle=$(mktemp -d)
  trap 'rm -rf "$bundle"' EXIT
  unpack "$archive" "$bundle" || exit 2
  peers=$root/bench/gpu/peers
  choose_loader
  find_cublas
  look_for_card
}

# Whether there is a card. One that nobody uses is put to rest by the driver, and woken by whoever comes
# next, for seconds each time: this keeps it awake while the stages run, and changes no setting.
look_for_card() {
  card=
  if command -v nvidia-smi >/dev/null; then
    nvidia-smi -L 2>/dev/null | grep -q '^GPU' || return 0
  else
    [ -c /dev/nvidia0 ] || return 0
  fi
  card=there
  if [ -c /dev/nvidia0 ]; then { exec {awake}</dev/nvidia0; } 2>/dev/null || true; fi
}

# Programs of the bundle were linked against the C library in $bundle/libc. An older one cannot run
# them: then the bundle's own loader and library do.
choose_loader() {
  local theirs ours
  theirs=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2)
  ours=$(cat "$bundle/libc/version")
  if [ -n "$theirs" ] && [ "$(printf '%s\n' "$ours" "$theirs" | sort -V | head -1)" = "$ours" ]; then
    own_loader=
    loader="the machine's, glibc $theirs"
  else
    own_loader=$bundle/libc/ld-linux-x86-64.so.2
    loader="the bundle's, glibc $ours (the machine's is ${theirs:-unknown})"
  fi
}

# The folder of cuBLASLt, which is too large for the bundle; empty where there is none.
find_cublas() {
  local site file
  site=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2>/dev/null)
  cublas=
  for file in /usr/local/cuda*/lib64/libcublasLt.so.13 /usr/local/cuda*/targets/*/lib/libcublasLt.so.13 \
    "$site"/nvidia/*/lib/libcublasLt.so.13 /usr/lib/x86_64-linux-gnu/libcublasLt.so.13; do
    [ -e "$file" ] && cublas=$(dirname "$file") && return
  done
  return 0
}

# in_bundle PROGRAM ARGUMENT...: the words of a command that runs a program of the bundle, in `words`.
# The bundle's C library is for this program alone, not for processes that it starts.
in_bundle() {
  local program=$bundle/bin/$1
  local further=${cublas:+:$cublas}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  shift
  if [ -n "$own_loader" ]; then
    words=("$own_loader" --library-path "$bundle/lib:$bundle/libc$further" "$program" "$@")
  else
    words=(env "LD_LIBRARY_PATH=$bundle/lib$further" "$program" "$@")
  fi
}

has_card() { [ -n "$card" ]; }

# Everything a reader of the figures must know of the machine: printed, in the log and in the results.
report_machine() {
  local text
  text=$(describe_machine)
  echo "$text" | tee -a "$log"
  printf '{"machine": %s}\n' "$(as_json "$text")" >>"$results"
}

describe_machine() {
  echo "machine  $(nproc) cores, $(uname -sr), $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)"
  echo "memory   $(sed -n 's/^\(MemTotal\|MemAvailable\): *\([0-9]*\).*/\1 \2 KiB/p' /proc/meminfo | tr '\n' ' ')"
  echo "libc     $loader"
  echo "cuBLASLt ${cublas:-not found}"
  if has_card; then
    nvidia-smi --query-gpu=name,memory.total,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu \
      --format=csv,noheader 2>&1 | sed 's/^/card     /'
  else
    echo "card     none"
  fi
}

# as_json TEXT: the text as a JSON string. Control characters become spaces.
as_json() {
  local text=${1//\\/\\\\}
  printf '"%s"' "$(printf '%s' "${text//\"/\\\"}" | tr '\000-\037' ' ')"
}

# report STAGE STATUS SECONDS DETAIL: one line for the table and one for the file.
stages=()
failures=0
report() {
  stages+=("$(printf "$kStageFields" "$1" "$2" "$3" "$4")")
  printf '{"stage": %s, "status": "%s", "seconds": %s, "detail": %s}\n' \
    "$(as_json "$1")" "$2" "$3" "$(as_json "$4")" >>"$results"
  case $2 in failed | late) failures=$((failures + 1)) ;; esac
}

# at_most SECONDS: so many, or what is left of `total_seconds` where that is less; never less than 1.
at_most() {
  local left=$((total_seconds - SECONDS))
  [ "$left" -lt "$1" ] || left=$1
  echo $((left > 0 ? left : 1))
}

# timed STAGE SECONDS: runs the command in `words`, at most so long and no longer than what is left of
# `total_seconds`. Sets `code` (124: too long), `seconds` and `printed`, the file of what it printed.
timed() {
  local left=$((total_seconds - SECONDS)) limit=$2 begin=$SECONDS
  printed=$bundle/printed.$1
  seconds=0
  code=124
  [ "$left" -lt "$limit" ] && limit=$left
  if [ "$limit" -gt 0 ]; then
    echo "== $1"
    code=0
    timeout --kill-after=5 "$limit" "${words[@]}" </dev/null >"$printed" 2>&1 || code=$?
    seconds=$((SECONDS - begin))
  else
    echo "no time left" >"$printed"
  fi
  { echo "== $1 (exit code $code, ${seconds} s): ${words[*]}"; cat "$printed"; } >>"$log"
}

# tests_in_log WORD: how many tests GoogleTest says WORD (PASSED, SKIPPED) of; empty: it does not.
tests_in_log() { sed -n "s/^\[  *$1 *\] \([0-9][0-9]*\) test.*/\1/p" "$printed" | head -1; }

# test_stage STAGE SECONDS: `words` is a GoogleTest program, perhaps under a checker. Nothing that
# ran is no success; it is no failure if every test says that it is not for this card.
test_stage() {
  timed "$1" "$2"
  local passed skipped failed other
  passed=$(tests_in_log PASSED)
  skipped=$(tests_in_log SKIPPED)
  failed=$(sed -n 's/^\[  FAILED  \] \([^ ,]*\).*(.*/\1/p' "$printed" | sort -u | head -3 | tr '\n' ' ')
  other=$(grep -c '^not for this card: ' "$printed")
  local counts="${passed:-0} tests passed, ${skipped:-0} skipped"
  if [ "$code" = 124 ] || [ "$code" = 137 ]; then
    report "$1" late "$seconds" "stopped after $2 s; $(tail -1 "$printed")"
  elif [ "$code" != 0 ]; then
    report "$1" failed "$seconds" "exit code $code; ${failed:-$(tail -1 "$printed")}"
  elif [ "${passed:-0}" = 0 ] && [ "$other" -gt 0 ] && [ "$other" = "$skipped" ]; then
    report "$1" skipped "$seconds" "$(grep -m1 '^not for this card: ' "$printed")"
  elif [ "${passed:-0}" = 0 ]; then
    report "$1" failed "$seconds" "a card is there and no test ran; $counts"
  else
    report "$1" passed "$seconds" "$counts"
  fi
}

# test_stages STAGE SECONDS: as test_stage. Where a test fails, hangs or dies, those that came behind it run
# again, in a process of their own: an error of the card's is for all that its process does from then on.
test_stages() {
  local stage=$1 limit=$2 command=("${words[@]}") rest names
  test_stage "$stage" "$limit"
  for ((rest = 1; rest <= kMostRests; ++rest)); do
    [ "$code" != 0 ] || return 0
    names=$(tests_behind_the_first_bad)
    [ -n "$names" ] || return 0
    words=("${command[@]}" "--gtest_filter=$names")
    test_stage "$stage:rest$rest" "$limit"
  done
}

# Of the tests that `words` runs, those behind the first that did not pass, but those that did, with colons
# between them; none where none was begun.
tests_behind_the_first_bad() {
  "${words[@]}" --gtest_list_tests </dev/null 2>/dev/null | awk -v printed="$printed" '
    BEGIN {
      while ((getline line <printed) > 0) {
        if (line ~ /^\[ RUN /) begun[++num_begun] = name_in(line)
        if (line ~ /^\[       OK \]|^\[  SKIPPED \] .*\./) passed[name_in(line)] = 1
      }
      for (i = 1; i <= num_begun && begun[i] in passed; ++i) continue
      if (i > num_begun) exit
      bad = begun[i]
    }
    function name_in(line) { sub(/^\[[^]]*\] /, "", line); sub(/,? .*/, "", line); return line }
    /^[^ ]/ { suite = $1 }
    /^  / { name = suite $1; if (name != bad && !(name in passed)) { printf "%s%s", colon, name; colon = ":" } }
  '
}

# skip_stage STAGE PROGRAM ARGUMENT...: without a card: only that the program starts here.
skip_stage() {
  local stage=$1
  shift
  in_bundle "$@"
  timed "$stage" 30
  if [ "$code" = 0 ]; then
    report "$stage" skipped "$seconds" "no card; the program starts"
  else
    report "$stage" failed "$seconds" "no card, and the program does not start: $(tail -1 "$printed")"
  fi
}

# Prints the table and ends: 0: all passed, 1: something failed, 77: no card, and all that could be
# tried went well.
finish() {
  echo
  printf "$kStageFields" stage status seconds detail
  printf '%s\n' "${stages[@]}"
  echo "results in $results, output in $log"
  [ "$failures" = 0 ] || exit 1
  has_card || exit $kNoCard
  exit 0
}
