// The file that --config names. Pure functions.
//
//   # a comment, also behind a value
//   [serve]                  # the settings below belong to this section
//   model = "/models/a #1"   # everything up to the closing quote; \" is " and \\ is \ there
//   listen = 'unix:/run/s'   # everything up to the closing quote, as it is
//   ram-bytes = 8GiB         # bare: up to the comment or the end of the line
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace reprise::api {

struct ConfigSetting {
  std::string section;  // empty: before the first section
  std::string name;
  std::string value;

  // How users refer to it: "serve.model", or "model" outside of a section.
  std::string FullName() const;
};

// The settings of a configuration file's `text`, in order. kInvalidArgument names the line and what
// is wrong with it: no `name = value`, a quote that does not close, text behind a quoted value.
absl::StatusOr<std::vector<ConfigSetting>> ParseConfig(absl::string_view text);

}  // namespace reprise::api
