// Export and Import against live servers: what goes out comes in, also elsewhere; what is damaged,
// or of another kind, does not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/api/cache_service_fixture.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class BlockFileTest : public CacheServiceTest {
 protected:
  // Two prompts with two blocks in common: 5 + 2 blocks.
  void PutTree() {
    PutBlocks(5);
    other_tokens_.assign(tokens_.begin(), tokens_.begin() + 2 * kTestBlockTokens);
    other_tokens_.resize(4 * kTestBlockTokens, 7);
    const auto put = client_.Put(
        ns_, absl::MakeConstSpan(other_tokens_).first(2 * kTestBlockTokens),
        {TestBlocks(other_tokens_, {payloads_.begin(), payloads_.begin() + 4}, 2)}, kTestTimeout);
    ASSERT_TRUE(put.ok()) << put.status();
    ASSERT_EQ(put->stored_blocks(), 2);
  }

  std::string Export(const v1::ExportRequest& request) {
    std::string file;
    const absl::Status status = client_.Export(request, kTestTimeout, [&](absl::string_view bytes) {
      file.append(bytes.data(), bytes.size());
      return true;
    });
    EXPECT_TRUE(status.ok()) << status;
    return file;
  }
  std::string ExportAll() {
    v1::ExportRequest request;
    request.set_namespace_id(ns_);
    return Export(request);
  }

  static absl::StatusOr<v1::ImportResponse> Import(CacheClient&& client, const std::string& file) {
    size_t at = 0;
    return client.Import(kTestTimeout, [&] {
      const std::string piece = file.substr(at, 1000);
      at += piece.size();
      return piece;
    });
  }

  std::vector<uint32_t> other_tokens_;
};

TEST_F(BlockFileTest, ANamespaceGoesToAnotherServer) {
  PutTree();
  ASSERT_TRUE(client_.Demote(kTestTimeout).ok());  // they come from disk as well
  const std::string file = ExportAll();
  TestServer elsewhere({.max_positions = 0});
  CacheClient client = elsewhere.cache();
  const auto imported = Import(elsewhere.cache(), file);
  ASSERT_TRUE(imported.ok()) << imported.status();
  EXPECT_EQ(imported->stored_blocks(), 7);
  EXPECT_EQ(imported->rejected_blocks(), 0) << imported->reject_reason();
  EXPECT_EQ(client.OpenNamespace(TestIdentity(), kTestTimeout)->namespace_id(),
            imported->namespace_id());
  int64_t next = 0;
  const auto got = client.Get(imported->namespace_id(), tokens_, 0, kTestTimeout,
                              [&](const v1::GetResponse& block) {
                                EXPECT_EQ(block.payload(), payloads_[static_cast<size_t>(next++)]);
                              });
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(*got, 5);
  EXPECT_EQ(client.Match(imported->namespace_id(), other_tokens_, kTestTimeout)->matched_tokens(),
            4 * kTestBlockTokens);
  const auto again = Import(elsewhere.cache(), file);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->existing_blocks(), 7);
  EXPECT_EQ(again->stored_blocks(), 0);
}

TEST_F(BlockFileTest, APrefixIsThePromptsBlocksAlone) {
  PutTree();
  v1::ExportRequest request;
  request.mutable_prefix()->set_namespace_id(ns_);
  request.mutable_prefix()->mutable_token_ids()->Assign(other_tokens_.begin(), other_tokens_.end());
  TestServer elsewhere({.max_positions = 0});
  EXPECT_EQ(Import(elsewhere.cache(), Export(request))->stored_blocks(), 4);
}

TEST_F(BlockFileTest, ADamagedFileStoresWhatIsBeforeTheDamage) {
  PutBlocks(5);
  const std::string file = ExportAll();
  TestServer elsewhere({.max_positions = 0});
  // The last byte of the third block's payload: before two and a half records and the end.
  const size_t record = 1 + 4 + 4 * kTestBlockTokens + static_cast<size_t>(block_bytes_) + 8;
  const size_t at = file.size() - 17 - 2 * record - 9;
  std::string damaged = file;
  damaged[at] = static_cast<char>(damaged[at] ^ 1);
  const auto imported = Import(elsewhere.cache(), damaged);
  EXPECT_EQ(imported.status().code(), absl::StatusCode::kDataLoss) << imported.status();
  EXPECT_THAT(std::string(imported.status().message()),
              AllOf(HasSubstr("behind 2 blocks"), HasSubstr("2 blocks are stored"),
                    HasSubstr(absl::StrCat("byte ", file.size() - 17 - 3 * record))));
  CacheClient client = elsewhere.cache();
  const uint32_t ns = client.OpenNamespace(TestIdentity(), kTestTimeout)->namespace_id();
  EXPECT_EQ(client.Match(ns, tokens_, kTestTimeout)->matched_tokens(), 2 * kTestBlockTokens);
}

TEST_F(BlockFileTest, EveryCutAndEveryFlippedByteIsFound) {
  PutBlocks(2);
  const std::string file = ExportAll();
  TestServer elsewhere({.max_positions = 0});
  for (size_t at = 0; at < file.size(); at += 17) {
    EXPECT_FALSE(Import(elsewhere.cache(), file.substr(0, at)).ok()) << at;
    std::string flipped = file;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    EXPECT_FALSE(Import(elsewhere.cache(), flipped).ok()) << at;
  }
  EXPECT_EQ(Import(elsewhere.cache(), file + "x").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(Import(elsewhere.cache(), file).ok());
}

TEST_F(BlockFileTest, AnotherVersionIsRefusedWithBothValues) {
  std::string file = ExportAll();
  file[8] = 9;
  const auto imported = Import(server_.cache(), file);
  EXPECT_EQ(imported.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(imported.status().message()),
              AllOf(HasSubstr("version is 9"), HasSubstr("reads 1")));
}

TEST_F(BlockFileTest, BlocksOfAnotherModelAreRefusedWithBothValues) {
  PutBlocks(1);
  const std::string file = ExportAll();
  TestServer serving({.max_positions = 64});
  const auto imported = Import(serving.cache(), file);
  EXPECT_EQ(imported.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(imported.status().message()),
              AllOf(HasSubstr("model_digest is \"model-a\""), HasSubstr("the served model's")));
  CacheClient client = serving.cache();
  ASSERT_TRUE(client.OpenNamespace(TestIdentity(), kTestTimeout).ok());
  EXPECT_TRUE(Import(serving.cache(), file).ok());
}

TEST_F(BlockFileTest, AScopeIsNeeded) {
  const absl::Status status =
      client_.Export({}, kTestTimeout, [](absl::string_view) { return true; });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace reprise::api
