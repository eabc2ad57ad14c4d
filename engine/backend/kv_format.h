// The formats in which the backend keeps KV: the dtype of a layout, with its scales. Pure
// functions.
#pragma once

#include "cachestore/block/kv_layout.h"

namespace reprise::engine {

// `layout` with elements of `dtype`, and the scales that the backend keeps for them in the block:
// one a row for int8, which costs 3 % of its bytes at head_dim 64; one for every 32 elements for
// int4 (11 %), whose seven steps cannot span the few large dims of a key together with the others.
cachestore::KvLayout WithDType(cachestore::KvLayout layout, cachestore::DType dtype);

// True when KV reads back as it was computed, bit for bit: the backend computes in f32.
bool IsExact(cachestore::DType dtype);

}  // namespace reprise::engine
