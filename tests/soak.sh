#!/usr/bin/env bash
# Soaks a real server for so many minutes: tenants, leases, shared memory, streams, HTTP, slow readers,
# kills of clients, reloads. Ends with nothing held and flat memory, or fails; prints a table.
# Usage: tests/soak.sh [MINUTES]   (30)
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-30}
deploy/install-deps.sh
cmake --preset release >/dev/null
cmake --build --preset release --target process_soak_test
REPRISE_SOAK_SECONDS=$((minutes * 60)) build/release/tests/process_soak_test
