// LogFile: a log of calls, and what it has written. Thread-compatible.
#pragma once

#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "api/log/call_log.h"
#include "cachestore/base/check.h"

namespace reprise::api {

class LogFile {
 public:
  explicit LogFile(const LogOptions& options) : file_(std::tmpfile()) {
    CHECK(file_ != nullptr);
    log_.emplace(options, file_);
  }
  ~LogFile() {
    log_.reset();
    std::fclose(file_);
  }
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  CallLog& log() { return *log_; }

  // All that was written. Ends the log. Call once.
  std::string Text() {
    log_.reset();
    std::rewind(file_);
    std::string text;
    for (int c = std::fgetc(file_); c != EOF; c = std::fgetc(file_)) {
      text.push_back(static_cast<char>(c));
    }
    return text;
  }
  // The same of a log in JSON.
  std::vector<nlohmann::json> Lines() { return Parse(Text()); }
  static std::vector<nlohmann::json> Parse(const std::string& text) {
    std::vector<nlohmann::json> lines;
    for (const auto line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      lines.push_back(nlohmann::json::parse(line));
    }
    return lines;
  }

 private:
  std::FILE* const file_;
  std::optional<CallLog> log_;
};

}  // namespace reprise::api
