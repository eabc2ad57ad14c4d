#include "api/cli/serve_settings.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "api/cli/flag_set.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

using Given = ServeSettings::Given;

constexpr char kConfig[] = "config";

// What can change while the server runs: flag by flag, and all of them.
constexpr absl::string_view kLive[] = {"disk-admission", "log-format", "log-level",
                                       "shutdown-grace"};

void TakeLive(const ServeOptions& from, ServeOptions* to) {
  to->log = from.log;
  to->shutdown_grace_seconds = from.shutdown_grace_seconds;
  to->store.disk.admission = from.store.disk.admission;
}

struct Read {
  ServeOptions options;
  Given given;
};

// The program's arguments once more, with the file as it is now.
absl::StatusOr<Read> ReadAnew(const std::vector<std::string>& args) {
  FlagSet program("reprise", "");
  FlagSet& serve = program.AddCommand("serve", "");
  ServeOptions options;
  AddServeFlags(serve, &options);
  serve.SetAction([] { return 0; });
  std::ostringstream out;
  std::ostringstream err;
  if (program.Run(args, out, err) != 0) {
    return absl::InvalidArgumentError(absl::StripAsciiWhitespace(err.str()));
  }
  options = options.ForDevice();
  RETURN_IF_ERROR(options.Validate());
  return Read{std::move(options), serve.Given()};
}

// The flags that are not given alike in both.
std::set<std::string> Differences(const Given& before, const Given& after) {
  std::vector<Given::value_type> differences;
  std::set_symmetric_difference(before.begin(), before.end(), after.begin(), after.end(),
                                std::back_inserter(differences));
  std::set<std::string> names;
  for (const auto& [name, value] : differences) names.insert(name);
  return names;
}

}  // namespace

ServeSettings::ServeSettings(std::vector<std::string> args, ServeOptions options, Given given)
    : args_(std::move(args)),
      has_config_(given.contains(kConfig)),
      given_(std::move(given)),
      options_(std::move(options)) {}

ServeOptions ServeSettings::options() const {
  absl::MutexLock lock(&mu_);
  return options_;
}

bool ServeSettings::has_files() const {
  const GuardOptions guard = options().guard;
  return has_config_ || !guard.credentials_file.empty() || !guard.tls.certificate.empty() ||
         !guard.audit_log.empty();
}

absl::StatusOr<std::vector<std::string>> ServeSettings::Reload(Guard& guard) {
  absl::MutexLock reload_lock(&reload_mu_);
  // All that can fail comes first.
  Read read = {options(), given_};
  if (has_config_) {
    ASSIGN_OR_RETURN(read, ReadAnew(args_));
  }
  ASSIGN_OR_RETURN(std::vector<std::string> changed, guard.Reload());
  std::vector<std::string> at_restart;
  for (const std::string& name : Differences(given_, read.given)) {
    if (std::find(std::begin(kLive), std::end(kLive), name) == std::end(kLive)) {
      at_restart.push_back(name);
      continue;
    }
    const auto value = read.given.find(name);
    if (value == read.given.end()) {
      given_.erase(name);
      changed.push_back(absl::StrCat(name, " as usual"));
    } else {
      given_[name] = value->second;
      changed.push_back(absl::StrCat(name, " ", value->second));
    }
  }
  if (!at_restart.empty()) {
    changed.push_back(absl::StrCat("only with a restart: ", absl::StrJoin(at_restart, ", ")));
  }
  {
    absl::MutexLock lock(&mu_);
    TakeLive(read.options, &options_);
  }
  if (follow_) follow_(options());
  return changed;
}

void ServeSettings::Follow(std::function<void(const ServeOptions&)> follow) {
  absl::MutexLock reload_lock(&reload_mu_);
  follow_ = std::move(follow);
  if (follow_) follow_(options());
}

}  // namespace reprise::api
