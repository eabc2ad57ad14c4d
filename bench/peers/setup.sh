#!/bin/sh
# Installs the peers of `reprise bench engine` and `reprise bench rpc` from PyPI: transformers on
# PyTorch, Mooncake Store (which needs Debian's libibverbs1), LMCache, and llama.cpp, which is
# compiled for this CPU (ten minutes on two cores).
#
#     bench/peers/setup.sh [FOLDER]      (default: build/peers-venv)
set -eu
folder=${1:-build/peers-venv}
here=$(cd "$(dirname "$0")" && pwd)
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet numpy safetensors gguf torch transformers
"$folder/bin/pip" install --quiet mooncake-transfer-engine-non-cuda lmcache
# The library alone: no tools, no images, no server.
CMAKE_ARGS="-DGGML_NATIVE=ON -DGGML_OPENMP=ON -DLLAVA_BUILD=OFF -DMTMD_BUILD=OFF \
-DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF \
-DLLAMA_BUILD_SERVER=OFF -DLLAMA_CURL=OFF" \
  "$folder/bin/pip" install --quiet --no-binary llama-cpp-python llama-cpp-python
for script in peer_protocol transformers_peer llama_cpp_peer to_gguf \
    store_protocol mooncake_store lmcache_server; do
  ln -sf "$here/$script.py" "$folder/$script.py"
done
