// A member of a JSON object as it was written: for what is passed on, whose order of members a
// parsed document would lose. Pure function, thread-safe.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace reprise::api {

// The text of the value of the last member `name` of `object`; empty when there is none.
// REQUIRES: `object` is valid JSON of an object.
std::string RawMember(absl::string_view object, absl::string_view name);

}  // namespace reprise::api
