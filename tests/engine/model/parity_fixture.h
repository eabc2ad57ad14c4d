// ParityFixture: one folder of tests/parity/fixtures with what transformers computed for it; and
// the names of all of them, so that a test of every model runs on a new fixture without being told.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/engine/model/model_folder.h"

namespace reprise::engine {

// Every folder of tests/parity/fixtures, in order.
inline std::vector<std::string> ParityFixtureNames() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(FixturePath(""))) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

struct ParityFixture {
  struct Continuation {
    std::vector<uint32_t> prompt;
    std::vector<uint32_t> tokens;
  };

  explicit ParityFixture(const std::string& fixture) : folder(FixturePath(fixture)) {
    std::ifstream json_file(folder + "/expected.json");
    const nlohmann::json expected = nlohmann::json::parse(json_file);
    vocab_size = expected.at("vocab_size").get<size_t>();
    prompt = expected.at("prompt").get<std::vector<uint32_t>>();
    for (const nlohmann::json& one : expected.at("continuations")) {
      continuations.push_back({one.at("prompt").get<std::vector<uint32_t>>(),
                               one.at("tokens").get<std::vector<uint32_t>>()});
    }
    std::ifstream logits_file(folder + "/logits.f32", std::ios::binary);
    std::ostringstream bytes;
    bytes << logits_file.rdbuf();
    logits.resize(bytes.str().size() / sizeof(float));
    std::memcpy(logits.data(), bytes.str().data(), logits.size() * sizeof(float));
    EXPECT_EQ(logits.size(), prompt.size() * vocab_size);
  }

  // Logits after prompt[position]: [vocab_size].
  absl::Span<const float> logits_at(size_t position) const {
    return absl::MakeConstSpan(logits).subspan(position * vocab_size, vocab_size);
  }

  std::string folder;
  size_t vocab_size = 0;
  std::vector<uint32_t> prompt;
  std::vector<float> logits;  // [prompt.size(), vocab_size]
  std::vector<Continuation> continuations;
};

// Relative L2 error of logits, gathered over rows.
class LogitsError {
 public:
  void Add(absl::Span<const float> ours, absl::Span<const float> reference) {
    ASSERT_EQ(ours.size(), reference.size());
    for (size_t i = 0; i < ours.size(); ++i) {
      const double difference = static_cast<double>(ours[i]) - reference[i];
      squared_difference_ += difference * difference;
      squared_reference_ += static_cast<double>(reference[i]) * reference[i];
    }
  }
  // Infinite when a logit was not a number, and when there were none.
  double relative() const {
    const double error = std::sqrt(squared_difference_ / squared_reference_);
    return std::isfinite(error) ? error : INFINITY;
  }

 private:
  double squared_difference_ = 0;
  double squared_reference_ = 0;
};

}  // namespace reprise::engine
