// Values as JSON, the way the filter tojson of chat templates writes them. Pure function,
// thread-safe.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "engine/jinja/budget.h"
#include "engine/jinja/value.h"

namespace reprise::engine::jinja {

// Like Python's json.dumps(value, ensure_ascii=False, indent=indent). What is plain stays plain.
// kFailedPrecondition: a value that JSON does not have.
absl::StatusOr<MarkedText> ToJson(const Value& value, std::optional<int64_t> indent,
                                  Budget* budget);

}  // namespace reprise::engine::jinja
