// ServeSettings: what `reprise serve` runs with, and what becomes of it when its files are read
// anew: those of the guard, and the one that --config names. Of the latter some settings hold at
// once, the others from the next start on. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "api/auth/guard.h"
#include "api/serve_options.h"

namespace reprise::api {

class ServeSettings {
 public:
  using Given = std::map<std::string, std::string>;  // FlagSet::Given

  // `options` and `given` are what `args`, those of the program, came to at the start.
  ServeSettings(std::vector<std::string> args, ServeOptions options, Given given);

  // Those that hold now.
  ServeOptions options() const;
  // Whether there is a file that Reload reads.
  bool has_files() const;

  // Reads the file of --config anew, and the guard's files; returns what changed, for people, and
  // last which settings need a restart. kInvalidArgument, or an error of the guard's: what is wrong
  // with a file; all of the old stays in place. BLOCKS.
  absl::StatusOr<std::vector<std::string>> Reload(Guard& guard) ABSL_LOCKS_EXCLUDED(reload_mu_);

  // Calls `follow` with the options that hold now, and again after every reload, one at a time; not
  // any more once it has returned from a call with an empty one. BLOCKS for a reload.
  void Follow(std::function<void(const ServeOptions&)> follow) ABSL_LOCKS_EXCLUDED(reload_mu_);

 private:
  const std::vector<std::string> args_;
  const bool has_config_;
  absl::Mutex reload_mu_;                    // one reload at a time
  Given given_ ABSL_GUARDED_BY(reload_mu_);  // of what holds now
  std::function<void(const ServeOptions&)> follow_ ABSL_GUARDED_BY(reload_mu_);
  mutable absl::Mutex mu_;
  ServeOptions options_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::api
