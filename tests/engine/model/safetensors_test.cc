#include "engine/model/safetensors.h"

#include <cstring>
#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/model_folder.h"

namespace reprise::engine {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kFile[] = "model.safetensors";

// Opens a file of these bytes; the folder goes, the status stays.
absl::Status OpenBytes(const std::string& bytes) {
  const ModelFolder folder;
  folder.Write(kFile, bytes);
  return SafetensorsFile::Open(folder.file(kFile)).status();
}

absl::Status OpenHeader(const std::string& header, const std::string& data) {
  return OpenBytes(SafetensorsBytes(header, data));
}

TEST(SafetensorsFileTest, GivesViewsOfEveryTensor) {
  const ModelFolder folder;
  const float values[] = {1, 2, 3, 4, 5, 6};
  std::string data(reinterpret_cast<const char*>(values), sizeof(values));
  data += std::string(4, '\x11');
  folder.Write(kFile, SafetensorsBytes(
                          R"({"__metadata__": {"format": "pt"},
                              "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
                              "b": {"dtype": "BF16", "shape": [2], "data_offsets": [24, 28]},
                              "none": {"dtype": "F32", "shape": [0, 7], "data_offsets": [28, 28]},
                              "scalar": {"dtype": "U8", "shape": [], "data_offsets": [28, 29]}})",
                          data + "x"));
  const auto file = SafetensorsFile::Open(folder.file(kFile));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->tensors().size(), 4u);
  const StoredTensor& a = (*file)->tensors().at("a");
  EXPECT_THAT(a.shape, ElementsAre(2, 3));
  EXPECT_EQ(a.element_type("a").value(), ElementType::kF32);
  ASSERT_EQ(a.bytes.size(), sizeof(values));
  EXPECT_EQ(std::memcmp(a.bytes.data(), values, sizeof(values)), 0);
  EXPECT_EQ((*file)->tensors().at("b").element_type("b").value(), ElementType::kBF16);
  EXPECT_EQ((*file)->tensors().at("b").bytes[0], std::byte{0x11});
  EXPECT_EQ((*file)->tensors().at("none").num_elements(), 0);
  EXPECT_EQ((*file)->tensors().at("scalar").num_elements(), 1);
}

TEST(SafetensorsFileTest, DtypesThatWeightsCannotHaveAreRefusedByName) {
  StoredTensor tensor;
  tensor.dtype = "I64";
  const absl::Status status = tensor.element_type("h.0.attn.bias").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("h.0.attn.bias"), HasSubstr("I64")));
}

TEST(SafetensorsFileTest, MissingFileIsNotFound) {
  const absl::Status status = SafetensorsFile::Open("/nonexistent/model.safetensors").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nonexistent/model.safetensors"));
}

TEST(SafetensorsFileTest, FolderInPlaceOfAFileIsRefused) {
  const ModelFolder folder;
  const absl::Status status = SafetensorsFile::Open(folder.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not a regular file"));
}

struct BadFile {
  const char* what;
  std::string bytes;
  std::vector<std::string> error;  // every part must be in the message
};

class SafetensorsBadFileTest : public ::testing::TestWithParam<BadFile> {};

TEST_P(SafetensorsBadFileTest, IsRefusedWithItsCause) {
  const absl::Status status = OpenBytes(GetParam().bytes);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(kFile));
  for (const std::string& part : GetParam().error) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(part));
  }
}

std::string Entry(const std::string& fields) { return "{\"w\": {" + fields + "}}"; }

std::string WithEntry(const std::string& fields) {
  return SafetensorsBytes(Entry(fields), std::string(16, 'x'));
}

INSTANTIATE_TEST_SUITE_P(
    All, SafetensorsBadFileTest,
    ::testing::Values(
        BadFile{"Empty", "", {"has 0 bytes"}},
        BadFile{"ShorterThanTheLength", "1234567", {"has 7 bytes"}},
        BadFile{"HugeHeader", std::string(16, '\xff'), {"18446744073709551615", "100000000"}},
        BadFile{"HeaderPastTheEnd",
                SafetensorsBytes("{}", "").replace(0, 1, "\x40") + "abc",
                {"has 64 bytes", "only 5 follow"}},
        BadFile{"NotJson", SafetensorsBytes("{\"w\": ", ""), {"not JSON", "header"}},
        BadFile{"Deep",
                SafetensorsBytes(
                    "{\"w\": " + std::string(200'000, '[') + std::string(200'000, ']') + "}", ""),
                {"header", "at most 64"}},
        BadFile{"NotUtf8", SafetensorsBytes("{\"\xff\": 1}", ""), {"not JSON"}},
        BadFile{"NotAnObject", SafetensorsBytes("[1]", ""), {"array", "not an object"}},
        BadFile{"EntryNotAnObject", SafetensorsBytes("{\"w\": 3}", ""), {"\"w\"", "object"}},
        BadFile{"NoDtype",
                WithEntry(R"("shape": [4], "data_offsets": [0, 16])"),
                {"\"w\"", "no dtype"}},
        BadFile{"UnknownDtype",
                WithEntry(R"("dtype": "F31", "shape": [4], "data_offsets": [0, 16])"),
                {"\"w\"", "unknown dtype", "F31"}},
        BadFile{"NoShape",
                WithEntry(R"("dtype": "F32", "data_offsets": [0, 16])"),
                {"\"w\"", "no shape"}},
        BadFile{"NegativeSize",
                WithEntry(R"("dtype": "F32", "shape": [-4], "data_offsets": [0, 16])"),
                {"\"w\"", "shape [-4]"}},
        BadFile{"FractionalSize",
                WithEntry(R"("dtype": "F32", "shape": [4.5], "data_offsets": [0, 16])"),
                {"\"w\"", "shape [4.5]"}},
        BadFile{"OverflowingShape",
                WithEntry(R"("dtype": "F32", "shape": [4294967296, 4294967296],
                             "data_offsets": [0, 16])"),
                {"\"w\"", "impossible shape", "4294967296"}},
        BadFile{"NoOffsets",
                WithEntry(R"("dtype": "F32", "shape": [4])"),
                {"\"w\"", "no data_offsets"}},
        BadFile{"OneOffset",
                WithEntry(R"("dtype": "F32", "shape": [4], "data_offsets": [16])"),
                {"\"w\"", "[16]", "[begin, end]"}},
        BadFile{"BackwardOffsets",
                WithEntry(R"("dtype": "F32", "shape": [4], "data_offsets": [16, 0])"),
                {"\"w\"", "[16, 0]"}},
        BadFile{"RangeUnlikeShape",
                WithEntry(R"("dtype": "F32", "shape": [3], "data_offsets": [0, 16])"),
                {"\"w\"", "takes 12 bytes", "hold 16"}},
        BadFile{"Truncated",
                WithEntry(R"("dtype": "F32", "shape": [5], "data_offsets": [0, 20])"),
                {"\"w\"", "data byte 20", "only 16 data bytes"}},
        BadFile{"FarAway",
                WithEntry(R"("dtype": "F32", "shape": [1],
                             "data_offsets": [9223372036854775803, 9223372036854775807])"),
                {"\"w\"", "only 16 data bytes"}},
        BadFile{"Overlap",
                SafetensorsBytes(
                    R"({"v": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                        "w": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}})",
                    std::string(16, 'x')),
                {"\"v\"", "\"w\"", "overlap"}}),
    [](const auto& info) { return info.param.what; });

TEST(SafetensorsFileTest, SameHeaderWithAllItsDataIsAccepted) {
  // The control of the refusals above: these bytes differ from theirs in nothing else.
  EXPECT_TRUE(
      OpenBytes(WithEntry(R"("dtype": "F32", "shape": [4], "data_offsets": [0, 16])")).ok());
  EXPECT_TRUE(OpenHeader("{}", "").ok());
}

TEST(SafetensorsFileTest, EveryTruncationOfARealFileIsRefused) {
  const ModelFolder folder("llama_mqa_biases");
  const std::string whole = folder.Read(kFile);
  ASSERT_TRUE(OpenBytes(whole).ok());
  for (size_t keep = 0; keep < whole.size(); keep += 1 + whole.size() / 61) {
    const absl::Status status = OpenBytes(whole.substr(0, keep));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << "kept " << keep;
  }
  EXPECT_FALSE(OpenBytes(whole.substr(0, whole.size() - 1)).ok());
}

TEST(SafetensorsFileTest, FlippedHeaderBytesNeverReachOutsideTheFile) {
  const ModelFolder folder("llama_mqa_biases");
  const std::string whole = folder.Read(kFile);
  uint64_t header_bytes = 0;
  whole.copy(reinterpret_cast<char*>(&header_bytes), sizeof(header_bytes));
  uint64_t sum = 0;
  int accepted = 0;
  for (size_t at = 0; at < 8 + header_bytes; at += 7) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
    folder.Write(kFile, bytes);
    const auto file = SafetensorsFile::Open(folder.file(kFile));
    if (!file.ok()) continue;
    ++accepted;  // e.g. a flip in a name
    for (const auto& [name, tensor] : (*file)->tensors()) {
      if (!tensor.bytes.empty()) sum += static_cast<uint64_t>(tensor.bytes.back());
    }
  }
  EXPECT_GT(accepted, 0);
  EXPECT_GT(sum, 0u);
}

}  // namespace
}  // namespace reprise::engine
