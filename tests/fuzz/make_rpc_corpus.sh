#!/usr/bin/env bash
# Makes tests/fuzz/corpus/rpc: for each method a line with its name and a message that makes sense,
# or, for Import, a file. Needs build/release/reprise.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=tests/fuzz/corpus/rpc
mkdir -p "$out"

# make SERVICE METHOD PROTO TEXT [NAME]: the message in protobuf's text format.
make() {
  local file="$out/$1_$2${5:+_$5}"
  printf '%s/%s\n' "$1" "$2" >"$file"
  protoc -I api/proto --encode="reprise.v1.$2Request" "reprise/v1/$3.proto" <<<"$4" >>"$file"
}

tokens='token_ids: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]'
identity='model_digest: "m" tokenizer_digest: "t" adapter_digest: "none" kv_scales: "none"
  layout { num_layers: 2 num_kv_heads: 1 head_dim: 8 block_tokens: 8 dtype: DTYPE_FP16 }
  position_scheme: "rope theta=10000" tensor_parallel_size: 1 pipeline_parallel_size: 1'
make Cache OpenNamespace cache "identity { $identity tenant: \"a\" } hash_scheme: \"reprise-xxh3-128-v1\""
make Cache Match cache "namespace_id: 1 $tokens hints { session: \"s\" turn: 2 }"
make Cache Exists cache "namespace_id: 1 $tokens"
make Cache Touch cache "namespace_id: 1 $tokens"
make Cache Prefetch cache "namespace_id: 1 $tokens max_blocks: 1 deadline_seconds: 0.1"
make Cache Explain cache "namespace_id: 1 $tokens"
make Cache OpenSession cache 'client_name: "fuzz" shared_memory: false'
make Cache Acquire cache "session_id: \"0123456789abcdef\" namespace_id: 1 $tokens"
make Cache Renew cache 'session_id: "0123456789abcdef" lease_ids: "0123456789abcdef" ttl_seconds: 1'
make Cache Release cache 'session_id: "0123456789abcdef" lease_ids: "0123456789abcdef"'
make Cache Put cache "namespace_id: 1 token_ids: [1, 2, 3, 4, 5, 6, 7, 8] payload: \"$(printf 'x%.0s' {1..512})\""
make Cache Get cache "namespace_id: 1 $tokens first_block: 1"
make Cache Get cache 'session_id: "0123456789abcdef" lease_id: "0123456789abcdef"' lease
make Cache Grant cache 'session_id: "0123456789abcdef" namespace_id: 1 num_blocks: 2'
make Cache Seal cache 'session_id: "0123456789abcdef" namespace_id: 1 blocks {
  grant_id: "0123456789abcdef" token_ids: [1, 2, 3, 4, 5, 6, 7, 8] }'
make Cache List cache 'namespace_id: 1 page_size: 10 cursor: "abc"'
make Cache Usage cache 'all_tenants: true'
make Cache Watch cache 'from_sequence: 1 namespace_id: 1'
make Cache Invalidate cache "prefix { namespace_id: 1 $tokens }"
make Cache Export cache 'namespace_id: 1'
make Cache Stats cache ''
make Cache WhatIf cache 'all_tenants: true'
make Cache Demote cache ''
make Inference Generate inference 'text: "once upon" sampling { temperature: 1 top_k: 3 top_p: 0.5 logit_bias { key: 3 value: 1 } }
  stop { max_new_tokens: 3 strings: "x" } num_samples: 2 priority: -3'
make Inference Tokenize inference 'conversation { messages { role: "user" content: "hello" } template_variables: "{\"a\": [1]}" }'
make Inference GetModel inference ''
make Inference ListModels inference ''
make Admin Verify admin 'max_bytes_per_second: 1000'
make Admin EndSession admin 'public_id: "01234567"'
make Admin ListSessions admin ''
make Admin Reload admin ''
make Admin Drain admin ''
make Admin StartRecording admin 'path: "requests.ktr" max_bytes: 4096'
make Admin StopRecording admin ''

# A file of two blocks, by a server of its own.
work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
build/release/reprise serve --listen "unix:$work/socket" --ram-bytes 16MiB >"$work/log" &
server=$!
until grep -q '^listening on ' "$work/log"; do kill -0 "$server"; done
cat >"$work/ns.json" <<'JSON'
{"modelDigest": "m", "tokenizerDigest": "t", "adapterDigest": "none", "kvScales": "none",
 "layout": {"numLayers": 2, "numKvHeads": 1, "headDim": 8, "blockTokens": 8, "dtype": "DTYPE_FP16"},
 "positionScheme": "rope theta=10000", "tensorParallelSize": 1, "pipelineParallelSize": 1,
 "tenant": "a"}
JSON
seq 1 16 >"$work/ids"
for i in 0 1; do printf "$i%.0s" {1..512} >"$work/$i.kv"; done
cache() {
  build/release/reprise cache "$@" --server "unix:$work/socket" >/dev/null
}
cache put --namespace-json "$work/ns.json" --tokens-file "$work/ids" --payload "$work/0.kv" "$work/1.kv"
cache export --namespace-json "$work/ns.json" --out "$work/file"
printf 'Cache/Import\n' | cat - "$work/file" >"$out/Cache_Import"
