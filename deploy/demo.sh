#!/usr/bin/env bash
# Installs what is missing, builds, makes a demo model, and plays a written conversation through running
# servers in four arms: cache off, cache in RAM, cache on disk, cache after kill -9 and restart (RAM is moved to
# disk before the kill, for what RAM alone holds is lost). Takes 10 to 15 minutes on 2 cores.
#
# Usage: deploy/demo.sh [--model DIR]     DIR: a Hugging Face folder to use instead of the demo model
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,6s/^# \{0,1\}//p' deploy/demo.sh; }

model=
while [ $# -gt 0 ]; do
  case "$1" in
    --model)
      [ $# -ge 2 ] || { echo "deploy/demo.sh: --model needs a folder" >&2; exit 2; }
      model=$2
      shift 2
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      echo "deploy/demo.sh: unknown argument '$1'" >&2
      usage >&2
      exit 2
      ;;
  esac
done

deploy/install-deps.sh
cmake --preset release
cmake --build --preset release --target reprise

reprise=build/release/reprise
if [ -z "$model" ]; then
  model=build/demo-model
  [ -f "$model/config.json" ] || "$reprise" make-model --out "$model" --max-positions 16384
fi
"$reprise" bench chat --model "$model" --conversation deploy/conversation.json
