#!/usr/bin/env bash
# What run.sh says of a bundle whose programs pass, fail, run nothing, hang and cannot start, with a
# card and without one: made up of scripts, on any machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/bundle/bin" "$folder/bundle/lib" "$folder/bundle/libc" "$folder/card"
echo 2.0 >"$folder/bundle/libc/version"
printf '#!/bin/sh\necho "GPU 0: made up"\n' >"$folder/card/nvidia-smi"
printf '#!/bin/sh\nwhile [ "$1" != env ]; do shift; done\nexec "$@"\n' >"$folder/card/compute-sanitizer"

# program NAME SECONDS BODY: a test of the bundle. Listing its tests it says nothing.
program() {
  echo "$2 $1" >>"$folder/bundle/tests.txt"
  printf '#!/bin/sh\ncase "$*" in *list_tests*) %s; exit 0 ;; esac\n%s\n' "${4:-true}" "$3" >"$folder/bundle/bin/$1"
}

# run_sh: runs it, and keeps what it printed in `printed`, its exit code in `code`.
run_sh() {
  chmod +x "$folder"/*/bin/* "$folder"/card/*
  tar -cJf "$folder/bundle.tar.xz" -C "$folder/bundle" .
  code=0
  printed=$(OUT=$folder/out "$here/run.sh" "$folder/bundle.tar.xz" 2>&1) || code=$?
}

# expect PATTERN: a line of the table.
expect() {
  grep -Eq "$1" <<<"$printed" && return
  printf 'not there: %s\n%s\n' "$1" "$printed" >&2
  exit 1
}
expect_code() {
  [ "$code" = "$1" ] && return
  printf 'exit code %s, not %s\n%s\n' "$code" "$1" "$printed" >&2
  exit 1
}

passed='echo "[  PASSED  ] 3 tests."; echo "[  SKIPPED ] 1 test, listed below:"'
program good 10 "$passed" 'echo SmallOne'
PATH=$folder/no-such-folder:/usr/bin:/bin run_sh
if ! nvidia-smi -L >/dev/null 2>&1; then
  expect '^good +skipped .*no card; the program starts'
  expect '^good:memcheck +skipped .*no card'
  expect_code 77
fi

export PATH=$folder/card:/usr/bin:/bin
not_for='echo "x_test.cc:9: Skipped"; echo "not for this card: it is of compute capability 8.0, not 9.0"'
no_test='echo "[  PASSED  ] 0 tests."; echo "[  SKIPPED ] 2 tests, listed below:"'
program other 10 "$not_for; $not_for; $no_test"
run_sh
expect '^other +skipped .*not for this card: it is of compute capability 8.0'
expect '^good +passed .*3 tests passed, 1 skipped'
expect '^good:racecheck +passed'
expect_code 0

program both 10 'case "$*" in *=-*|*Small*) '"$passed"' ;; *OnHopper*) kill -SEGV $$ ;; esac' 'echo SmallOnHopper'
program idle 10 "$no_test"
program half_idle 10 "$not_for; $no_test"
program bad 10 'echo "[  PASSED  ] 1 test."; echo "[  FAILED  ] A.B (1 ms)"; exit 1'
program dead 10 'echo "CHECK failed"; kill -SEGV $$'
program slow 1 'sleep 20'
# The last one alone shows what it does by itself.
program fragile 2 'case "$*" in *filter=A.Last/0*) '"$passed"' ;; *filter=A.Next:A.Last/0*) echo "[ RUN      ] A.Next"; sleep 20 ;;
  *) printf "[ RUN      ] A.Fine\n[       OK ] A.Fine (0 ms)\n[ RUN      ] A.Bad\n"; kill -SEGV $$ ;; esac' \
  'case "$*" in *A.Next*) ;; *) printf "A.\n  Fine\n  Bad\n" ;; esac; printf "A.\n  Next\n  Last/0  # GetParam() = 1\n"'
run_sh
expect '^good +passed'
expect '^both +passed .*3 tests passed'
expect '^both:hopper +failed .*exit code 139'
expect '^both:memcheck +passed'
expect '^idle +failed .*no test ran'
expect '^half_idle +failed .*no test ran'
expect '^bad +failed .*exit code 1; A.B'
expect '^dead +failed .*exit code 139'
expect '^slow +late .*stopped after 1 s'
expect '^fragile +failed .*exit code 139'
expect '^fragile:rest1 +late .*A.Next'
expect '^fragile:rest2 +passed .*3 tests passed'
expect_code 1
python3 - "$folder/out/tests.jsonl" <<'END'
import json, sys
machine, *stages = map(json.loads, open(sys.argv[1]))
assert "libc" in machine["machine"], machine
status = {row["stage"]: row["status"] for row in stages}
assert status["bad"] == "failed" and status["slow"] == "late" and status["good:memcheck"] == "passed", status
END

# A probe that fails: what it probes is not relied upon.
program gpu_hopper_probe_test 10 'exit 1'
run_sh
expect '^gpu_hopper_probe_test +failed'
expect '^both:hopper +skipped .*gpu_hopper_probe_test failed'
expect '^both:memcheck +passed'

# The benchmarks: a process for each group, whose rows stay when another group fails.
printf '%s\n' '#!/bin/sh' 'case "$*" in *scattered*) echo "the card is gone"; exit 1 ;; esac' \
  'while [ "$1" != --json ]; do shift; done' 'echo "{\"metric\": \"m\",\"pass\":false}" >>"$2"' \
  'echo "metric  ours"' 'exit 1' >"$folder/bundle/bin/reprise"
bench_printed() {
  chmod +x "$folder/bundle/bin/reprise"
  tar -cJf "$folder/bundle.tar.xz" -C "$folder/bundle" .
  code=0
  printed=$(OUT=$folder/out "$here/../../bench/gpu/run.sh" "$folder/bundle.tar.xz" "$@" 2>&1) || code=$?
}
bench_printed copy
expect '^copy:blocks +measured .*1 rows, 1 missed'
expect '^copy:scattered +failed .*the card is gone'
expect '^copy:crossover +measured'
expect_code 1
bench_printed no-such-suite
expect 'there are copy, attention, engine, peers'
expect_code 2
