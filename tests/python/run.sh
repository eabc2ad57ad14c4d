#!/bin/sh
# The tests of the Python package, as ctest runs them, with what tests/run.sh installs into build/venv.
# Usage: run.sh FOLDER install    builds the package into FOLDER/python
#        run.sh FOLDER FILE       runs the tests of FILE with it
# 77: skipped, since something is not installed; a line says what.
set -eu
cd "$(dirname "$0")/../.."
python=build/venv/bin/python
packages="$1/python"

"$python" -c \
  'import google.protobuf, grpc, grpc_tools, hatchling, numpy, openai, prometheus_client, pytest, xxhash' || {
  echo "$python lacks Python packages: tests/run.sh installs them when it has a network" >&2
  exit 77
}
if [ "$2" = install ]; then
  rm -rf "$packages"
  exec "$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-index \
    --no-build-isolation --target "$packages" api/python
fi
# No proxy is asked, also where there is one; nobody listens on this.
PYTHONPATH="$packages" PYTHONDONTWRITEBYTECODE=1 http_proxy=http://127.0.0.1:9 \
  exec "$python" -m pytest -q -p no:cacheprovider "tests/python/$2"
