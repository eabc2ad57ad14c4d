#include "engine/tokenizer/template_variables.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cachestore/base/status_macros.h"
#include "engine/json/json_text.h"
#include "engine/text/marked_text.h"

namespace reprise::engine {
namespace {

// Templates look names up one by one.
constexpr size_t kMostBytes = 256 << 10;
constexpr size_t kMostVariables = 64;

absl::Status Error(absl::string_view origin, absl::string_view cause) {
  return absl::InvalidArgumentError(absl::StrCat(origin, ": ", cause));
}

// Builds values as the text is read: a document in memory would lose the order of members.
class Builder : public nlohmann::json::json_sax_t {
 public:
  // `origin` names the text in errors.
  explicit Builder(absl::string_view origin) : origin_(origin) {}

  absl::StatusOr<jinja::Value> Take() && {
    RETURN_IF_ERROR(error_);
    return std::move(root_);
  }

  bool null() override { return Add(jinja::Value()); }
  bool boolean(bool value) override { return Add(jinja::Value(value)); }
  bool number_integer(int64_t value) override { return Add(jinja::Value(value)); }
  bool number_unsigned(uint64_t value) override {
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return Fail(absl::StrCat("the number ", value, " has more than 63 bits"));
    }
    return Add(jinja::Value(static_cast<int64_t>(value)));
  }
  bool number_float(double, const std::string& text) override {
    return Fail(absl::StrCat("the number ", text.substr(0, 32), " is not whole"));
  }
  bool string(std::string& text) override {
    return Add(jinja::Value(MarkedText::Plain(std::move(text))));
  }
  bool binary(nlohmann::json::binary_t&) override { return Fail("binary data"); }

  bool start_object(size_t) override { return Open(true); }
  bool key(std::string& name) override {
    if (name.find_first_of("<>[]{}|") != std::string::npos) {
      return Fail(absl::StrCat("the name \"", name.substr(0, 64),
                               "\" has one of <>[]{}|, of which special tokens are made"));
    }
    levels_.back().name = std::move(name);
    return true;
  }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Open(false); }
  bool end_array() override { return Close(); }

  bool parse_error(size_t place, const std::string&, const nlohmann::json::exception&) override {
    return Fail(absl::StrCat("not JSON at byte ", place));
  }

 private:
  // An object or array that is not closed yet.
  struct Level {
    bool is_object = false;
    jinja::List list;
    jinja::Map map;
    std::string name;                                   // of the next member
    absl::flat_hash_map<std::string, size_t> place_of;  // members by name
  };

  bool Fail(absl::string_view cause) {
    error_ = Error(origin_, cause);
    return false;
  }

  bool Open(bool is_object) {
    levels_.emplace_back().is_object = is_object;
    return true;
  }

  bool Close() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    return Add(level.is_object ? jinja::Value(std::move(level.map))
                               : jinja::Value(std::move(level.list)));
  }

  // Of several members of a name the last one counts, in the first one's place, as in Python.
  bool Add(jinja::Value value) {
    if (levels_.empty()) {
      root_ = std::move(value);
      return true;
    }
    Level& level = levels_.back();
    if (!level.is_object) {
      level.list.push_back(std::move(value));
      return true;
    }
    const auto [found, is_new] = level.place_of.try_emplace(level.name, level.map.size());
    if (is_new) {
      level.map.emplace_back(level.name, std::move(value));
    } else {
      level.map[found->second].second = std::move(value);
    }
    return true;
  }

  const absl::string_view origin_;
  std::vector<Level> levels_;
  jinja::Value root_;
  absl::Status error_;
};

// The members of `json`, none of which may be one of `taken`.
absl::StatusOr<jinja::Map> ReadMembers(absl::string_view json, absl::string_view origin,
                                       const std::vector<const char*>& taken) {
  if (json.empty()) return jinja::Map();
  if (json.size() > kMostBytes) {
    return Error(origin,
                 absl::StrCat("has ", json.size(), " bytes; at most ", kMostBytes, " are taken"));
  }
  RETURN_IF_ERROR(CheckJsonDepth(json, origin));
  Builder builder(origin);
  nlohmann::json::sax_parse(json.begin(), json.end(), &builder);
  ASSIGN_OR_RETURN(const jinja::Value value, std::move(builder).Take());
  if (value.map() == nullptr) {
    return Error(origin, absl::StrCat("is ", value.KindName(), ", not an object"));
  }
  if (value.map()->size() > kMostVariables) {
    return Error(origin, absl::StrCat("has ", value.map()->size(), " members; at most ",
                                      kMostVariables, " are taken"));
  }
  for (const char* name : taken) {
    if (jinja::FindMember(*value.map(), name) != nullptr) {
      return Error(origin, absl::StrCat("\"", name, "\" is set by the conversation"));
    }
  }
  return *value.map();
}

}  // namespace

absl::StatusOr<jinja::Map> ReadTemplateVariables(absl::string_view json) {
  return ReadMembers(json, "template_variables", {"messages", "add_generation_prompt"});
}

absl::StatusOr<jinja::Map> ReadMessageMembers(absl::string_view json) {
  return ReadMembers(json, "members", {"role", "content"});
}

}  // namespace reprise::engine
