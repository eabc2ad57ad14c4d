// LogFile: a log of calls, and what it has written. Thread-compatible.
#pragma once

#include <unistd.h>

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

  // How many times `text` stands in what has been written so far.
  int Count(const std::string& text) const {
    int count = 0;
    const std::string written = SoFar();
    for (size_t at = written.find(text); at != text.npos; at = written.find(text, at + 1)) ++count;
    return count;
  }

  // All that was written. Ends the log. Call once.
  std::string Text() {
    log_.reset();
    return SoFar();
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
  // The log flushes each line.
  std::string SoFar() const {
    std::string text;
    char piece[4096];
    for (ssize_t n = 0;
         (n = pread(fileno(file_), piece, sizeof(piece), static_cast<off_t>(text.size()))) > 0;) {
      text.append(piece, static_cast<size_t>(n));
    }
    return text;
  }

  std::FILE* const file_;
  std::optional<CallLog> log_;
};

}  // namespace reprise::api
