// The attention of a build without CUDA.
#include "bench/gpu/attention_work.h"

namespace reprise::bench {

AttentionWorks OurAttentionWorks() {
  const absl::Status none = absl::NotFoundError("this build has no CUDA");
  return {[none](auto&&...) -> AttentionWorkOr { return none; },
          [none](auto&&...) -> AttentionWorkOr { return none; }};
}

}  // namespace reprise::bench
