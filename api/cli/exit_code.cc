#include <iostream>

#include "absl/strings/str_replace.h"
#include "api/cli/commands.h"

namespace reprise::api {

int ExitCode(absl::string_view command, const absl::Status& status) {
  if (status.ok()) return kExitOk;
  std::cerr << "reprise " << command << ": " << absl::StrReplaceAll(status.message(), {{"\n", " "}})
            << std::endl;
  return kExitFailed;
}

}  // namespace reprise::api
