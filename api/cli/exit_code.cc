#include <iostream>
#include <string>

#include "absl/strings/str_replace.h"
#include "api/cli/commands.h"

namespace reprise::api {

int ExitCode(absl::string_view command, const absl::Status& status) {
  if (status.ok()) return kExitOk;
  const std::string cause = status.message().empty() ? absl::StatusCodeToString(status.code())
                                                     : std::string(status.message());
  std::cerr << "reprise " << command << ": " << absl::StrReplaceAll(cause, {{"\n", " "}})
            << std::endl;
  return kExitFailed;
}

}  // namespace reprise::api
