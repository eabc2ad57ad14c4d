// The attention of a build without CUDA.
#include "bench/gpu/attention_work.h"

namespace reprise::bench {

AttentionWorks OurAttentionWorks() {
  const absl::Status none = absl::NotFoundError("this build has no CUDA");
  const auto open = [none](auto&&...) -> AttentionWorkOr { return none; };
  return {open, open, open};
}

}  // namespace reprise::bench
