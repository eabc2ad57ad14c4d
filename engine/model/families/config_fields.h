// Fields of config.json that families read alike. Errors name the field, its value and what it may
// be. Pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/model/json_object.h"
#include "engine/model/model_config.h"

namespace reprise::engine {

// Far above any model, and small enough that products of two stay in 63 bits.
inline constexpr JsonObject::Range kWidthRange = {1, 1 << 20};
inline constexpr JsonObject::Range kLayerRange = {1, 4096};
inline constexpr JsonObject::Range kHeadRange = {1, 1 << 14};
inline constexpr JsonObject::Range kPositionRange = {1, 1 << 21};

inline constexpr JsonObject::Range kExpertRange = {1, 4096};

// Fills count and per_token from the fields of these names.
absl::Status ReadExperts(const JsonObject& config, const char* count_field,
                         const char* per_token_field, ExpertConfig* out);

// The activation that `field` names; the one of `fallback` when it is missing.
absl::StatusOr<Activation> ReadActivation(const JsonObject& config, const char* field,
                                          const std::string& fallback, bool gated);

}  // namespace reprise::engine
