// SampleAnswers: what the chunks of one call said, sample by sample. A server that answers for
// other samples than the call asked for is found out, not believed. For one thread.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "reprise/v1/inference.pb.h"

namespace reprise::api {

namespace v1 = ::reprise::v1;

struct SampleAnswer {
  std::string text;
  std::vector<uint32_t> ids;
  nlohmann::ordered_json logprobs;  // one entry a token, if asked for
};

class SampleAnswers {
 public:
  explicit SampleAnswers(int32_t num_samples) : answers_(static_cast<size_t>(num_samples)) {}

  // Takes the next chunk, of any sample.
  void Add(const v1::TokenChunk& chunk);
  // Whether every chunk and the summary, which came last, are of the samples asked for. kInternal,
  // with what came: they are not.
  absl::Status Check(const v1::GenerateSummary& summary) const;

  size_t size() const { return answers_.size(); }
  const SampleAnswer& operator[](size_t sample) const { return answers_[sample]; }

  // One object on one line: of one answer with its fields, of several with a list of them.
  // REQUIRES: Check(summary) is OK.
  std::string ToJson(const v1::GenerateSummary& summary) const;

 private:
  std::vector<SampleAnswer> answers_;
  absl::Status status_;  // of the chunks
};

}  // namespace reprise::api
