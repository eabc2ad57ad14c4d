// Messages of the API as JSON for programs. Pure functions.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "absl/strings/string_view.h"

namespace reprise::api {

// One line, with the field names of the proto file and every field but messages and alternatives
// that are not set; bytes (keys) as hex digits, as tables show them, and all numbers as numbers.
// REQUIRES: no maps in it.
std::string ToJsonLine(const google::protobuf::Message& message);

// Lower-case hex digits.
std::string Hex(absl::string_view bytes);

}  // namespace reprise::api
