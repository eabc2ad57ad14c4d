// The arena in clients' hands: what they may map, what they read and write, and what becomes of it
// when they die.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "api/client/mapped_arena.h"
#include "api/client/session.h"
#include "tests/api/cache_service_fixture.h"

namespace reprise::api {
namespace {

using ::testing::HasSubstr;

constexpr int kSlots = 16;

class SharedMemoryTest : public CacheServiceTest {
 protected:
  SharedMemoryTest()
      : CacheServiceTest(TestServer::Options{.ram_bytes = kSlots * 4096,
                                             .disk_bytes = 0,
                                             .max_positions = 0,
                                             .shared_memory = true}),
        stub_(v1::Cache::NewStub(ConnectTo(server_.address()))) {}

  std::unique_ptr<CacheSession> Open(const CacheSession::Options& options) {
    auto session = CacheSession::Open(server_.address(), options);
    EXPECT_TRUE(session.ok()) << session.status();
    return *std::move(session);
  }
  std::unique_ptr<CacheSession> OpenWriter() {
    return Open({.shared_memory = true, .write_shared_memory = true});
  }

  static absl::StatusOr<std::unique_ptr<MappedArena>> Map(const CacheSession& session) {
    return MappedArena::Map(session.opened().session_id(), session.opened().shared_memory(),
                            kTestTimeout);
  }

  std::vector<v1::GrantedSlot> Grant(const CacheSession& session, int32_t num_blocks) {
    grpc::ClientContext context;
    v1::GrantRequest request;
    request.set_session_id(std::string(session.id()));
    request.set_namespace_id(ns_);
    request.set_num_blocks(num_blocks);
    v1::GrantResponse response;
    const grpc::Status status = stub_->Grant(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return {response.slots().begin(), response.slots().end()};
  }

  // Seals the slots as the first blocks of `tokens`.
  v1::PutResponse Seal(const CacheSession& session, const std::vector<v1::GrantedSlot>& slots,
                       const std::vector<uint32_t>& tokens,
                       const std::vector<uint64_t>& hashes = {}) {
    grpc::ClientContext context;
    v1::SealRequest request;
    request.set_session_id(std::string(session.id()));
    request.set_namespace_id(ns_);
    for (size_t i = 0; i < slots.size(); ++i) {
      v1::SealBlock& block = *request.add_blocks();
      block.set_grant_id(slots[i].grant_id());
      if (!hashes.empty()) block.set_payload_xxh3(hashes[i]);
      const auto first = tokens.begin() + static_cast<ptrdiff_t>(i) * kTestBlockTokens;
      block.mutable_token_ids()->Assign(first, first + kTestBlockTokens);
    }
    v1::PutResponse response;
    const grpc::Status status = stub_->Seal(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  void Write(const MappedArena& arena, const v1::GrantedSlot& slot, const std::string& payload) {
    const auto bytes = arena.Slot(slot, block_bytes_);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    ASSERT_EQ(bytes->size(), payload.size());
    std::memcpy(bytes->data(), payload.data(), payload.size());
  }

  int64_t AwaitWritingBlocks(int64_t count) {
    const absl::Time deadline = absl::Now() + kTestTimeout;
    while (server_.store().stats().writing_blocks != count && absl::Now() < deadline) {
      client_.Match(ns_, TestTokens(1), kTestTimeout).IgnoreError();
    }
    return server_.store().stats().writing_blocks;
  }

  const std::unique_ptr<v1::Cache::Stub> stub_;
};

TEST_F(SharedMemoryTest, BlocksOfALeaseAreReadWhereTheyLieAndCannotBeWritten) {
  PutBlocks(4);
  const auto session = Open({.shared_memory = true});
  const auto arena = Map(*session);
  ASSERT_TRUE(arena.ok()) << arena.status();
  auto acquired = session->Acquire(ns_, tokens_, {}, kTestTimeout);
  ASSERT_TRUE(acquired.ok()) << acquired.status();
  const v1::LeaseState state = acquired->lease.Wait(absl::Now() + kTestTimeout);
  ASSERT_EQ(state.places_size(), 4);
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(state.places(i).has_payload_xxh3());
    const auto bytes = (*arena)->VerifiedBlock(state.places(i), block_bytes_);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_EQ(std::memcmp(bytes->data(), payloads_[i].data(), payloads_[i].size()), 0) << i;
  }
  EXPECT_FALSE((*arena)->is_writable());
  v1::GrantedSlot slot;
  EXPECT_EQ((*arena)->Slot(slot, block_bytes_).status().code(),
            absl::StatusCode::kFailedPrecondition);
  v1::SlotPlace begin;
  void* const page = const_cast<std::byte*>((*arena)->Block(begin, block_bytes_)->data());
  EXPECT_NE(mprotect(page, 4096, PROT_READ | PROT_WRITE), 0) << "the file can be written";
  EXPECT_EQ(GetAndCompare(0)["ram"], 4);
}

TEST_F(SharedMemoryTest, APlaceOutsideOfTheArenaOrAWrongByteIsNoBlock) {
  PutBlocks(1);
  const auto session = OpenWriter();
  const auto arena = Map(*session);
  ASSERT_TRUE(arena.ok()) << arena.status();
  v1::SlotPlace place;
  for (const int64_t offset : {int64_t{-1}, int64_t{kSlots * 4096 - 511}, int64_t{1} << 62}) {
    place.set_offset(offset);
    EXPECT_EQ((*arena)->Block(place, block_bytes_).status().code(), absl::StatusCode::kDataLoss);
  }
  auto acquired = session->Acquire(ns_, tokens_, {}, kTestTimeout);
  ASSERT_TRUE(acquired.ok()) << acquired.status();
  const v1::LeaseState state = acquired->lease.Wait(absl::Now() + kTestTimeout);
  ASSERT_EQ(state.places_size(), 1);
  // A client that writes where it must not is found out by others who verify.
  v1::GrantedSlot wrong;
  wrong.set_offset(state.places(0).offset());
  const auto bytes = (*arena)->Slot(wrong, block_bytes_);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_TRUE((*arena)->VerifiedBlock(state.places(0), block_bytes_).ok());
  (*bytes)[7] ^= std::byte{1};
  EXPECT_EQ((*arena)->VerifiedBlock(state.places(0), block_bytes_).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(
      client_.Get(ns_, tokens_, 0, kTestTimeout, [](const v1::GetResponse&) {}).status().code(),
      absl::StatusCode::kDataLoss);
  (*bytes)[7] ^= std::byte{1};
}

TEST_F(SharedMemoryTest, OnlyASessionThatAskedForItGetsTheArena) {
  const auto session = Open({.shared_memory = true});
  v1::SharedMemory where = session->opened().shared_memory();
  EXPECT_TRUE(MappedArena::Map(session->id(), where, kTestTimeout).ok());
  const auto other = Open({});
  EXPECT_FALSE(other->opened().has_shared_memory());
  for (const std::string& id : {std::string(other->id()), std::string(16, 'x')}) {
    EXPECT_EQ(MappedArena::Map(id, where, kTestTimeout).status().code(),
              absl::StatusCode::kPermissionDenied);
  }
  std::unique_ptr<CacheSession> ended = Open({.shared_memory = true});
  const std::string stale(ended->id());
  EXPECT_TRUE(MappedArena::Map(stale, where, kTestTimeout).ok());
  ended.reset();
  absl::Status status;
  const absl::Time deadline = absl::Now() + kTestTimeout;
  do {
    status = MappedArena::Map(stale, where, kTestTimeout).status();
  } while (status.ok() && absl::Now() < deadline);
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  where.set_socket_path(server_.folder() / "nobody");
  EXPECT_EQ(MappedArena::Map(session->id(), where, kTestTimeout).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(SharedMemoryTest, OtherUsersAreRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const auto session = Open({.shared_memory = true});
  const v1::SharedMemory where = session->opened().shared_memory();
  struct stat info = {};
  ASSERT_EQ(stat(where.socket_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  // How Map ends in a process of user `user`.
  const auto map_as = [&](uid_t user) {
    const pid_t child = fork();
    if (child == 0) {
      if (setresuid(user, user, user) != 0) _exit(99);
      const auto mapped = MappedArena::Map(session->id(), where, kTestTimeout);
      _exit(static_cast<int>(mapped.status().code()));
    }
    int status = 0;
    waitpid(child, &status, 0);
    return static_cast<absl::StatusCode>(WEXITSTATUS(status));
  };
  constexpr uid_t kNobody = 65534;
  EXPECT_EQ(map_as(0), absl::StatusCode::kOk);
  EXPECT_EQ(map_as(kNobody), absl::StatusCode::kUnavailable) << "the file lets nobody else connect";
  // Nor does the socket, should somebody have changed the file.
  ASSERT_EQ(chmod(where.socket_path().c_str(), 0666), 0);
  ASSERT_EQ(chmod((server_.folder() / "").c_str(), 0755), 0);
  EXPECT_EQ(map_as(kNobody), absl::StatusCode::kPermissionDenied);
}

TEST_F(SharedMemoryTest, WhatIsWrittenIntoGrantsIsSealedAsPutDoes) {
  const auto session = OpenWriter();
  const auto arena = Map(*session);
  ASSERT_TRUE(arena.ok()) << arena.status();
  EXPECT_TRUE((*arena)->is_writable());
  tokens_ = TestTokens(3);
  payloads_ = TestPayloads(3, block_bytes_);
  const std::vector<v1::GrantedSlot> slots = Grant(*session, 3);
  ASSERT_EQ(slots.size(), 3u);
  for (size_t i = 0; i < 3; ++i) Write(**arena, slots[i], payloads_[i]);
  EXPECT_EQ(MatchedBlocks(tokens_), 0) << "nothing is visible before it is sealed";
  const v1::PutResponse sealed = Seal(*session, slots, tokens_);
  EXPECT_EQ(sealed.stored_blocks(), 3) << sealed.reject_reason();
  EXPECT_EQ(GetAndCompare(0)["ram"], 3);
  EXPECT_EQ(server_.store().stats().writing_blocks, 0);
  // A grant ends with its seal, and is its session's alone.
  const v1::PutResponse again = Seal(*session, slots, tokens_);
  EXPECT_EQ(again.stored_blocks(), 0);
  EXPECT_THAT(again.reject_reason(), HasSubstr("no such grant"));
  const auto other = OpenWriter();
  const std::vector<v1::GrantedSlot> mine = Grant(*session, 1);
  ASSERT_EQ(mine.size(), 1u);
  EXPECT_THAT(Seal(*other, mine, TestTokens(1)).reject_reason(), HasSubstr("no such grant"));
  // The same block once more is not stored twice.
  Write(**arena, mine[0], payloads_[0]);
  const v1::PutResponse existed = Seal(*session, mine, TestTokens(1));
  ASSERT_EQ(existed.results_size(), 1) << existed.reject_reason();
  EXPECT_EQ(existed.results(0).outcome(), v1::PUT_OUTCOME_EXISTED);
}

TEST_F(SharedMemoryTest, ABlockThatIsNotWhatItsWriterHashedIsRejected) {
  const auto session = OpenWriter();
  const auto arena = Map(*session);
  ASSERT_TRUE(arena.ok()) << arena.status();
  tokens_ = TestTokens(3);
  payloads_ = TestPayloads(3, block_bytes_);
  const std::vector<v1::GrantedSlot> slots = Grant(*session, 3);
  ASSERT_EQ(slots.size(), 3u);
  std::vector<uint64_t> hashes;
  for (size_t i = 0; i < 3; ++i) {
    const auto bytes = absl::MakeConstSpan(reinterpret_cast<const std::byte*>(payloads_[i].data()),
                                           payloads_[i].size());
    EXPECT_EQ((*arena)->Fill(slots[i], block_bytes_, bytes.subspan(1)).status().code(),
              absl::StatusCode::kInvalidArgument);
    const auto hash = (*arena)->Fill(slots[i], block_bytes_, bytes);
    ASSERT_TRUE(hash.ok()) << hash.status();
    EXPECT_EQ(*hash, Checksum(payloads_[i]));
    hashes.push_back(*hash);
  }
  // A writer that goes on writing after it has hashed.
  const auto last = (*arena)->Slot(slots[2], block_bytes_);
  ASSERT_TRUE(last.ok()) << last.status();
  (*last)[5] ^= std::byte{1};
  const v1::PutResponse sealed = Seal(*session, slots, tokens_, hashes);
  EXPECT_EQ(sealed.stored_blocks(), 2);
  EXPECT_EQ(sealed.rejected_blocks(), 1);
  EXPECT_THAT(sealed.reject_reason(), HasSubstr("payload_xxh3"));
  std::vector<std::string> got;
  const auto count = client_.Get(ns_, tokens_, 0, kTestTimeout, [&](const v1::GetResponse& block) {
    got.push_back(block.payload());
  });
  EXPECT_TRUE(count.ok()) << count.status();
  EXPECT_EQ(got, std::vector<std::string>({payloads_[0], payloads_[1]}));
}

TEST_F(SharedMemoryTest, ASlotThatAKilledClientWroteIsFreeOnceItIsDeadAndNeverSeen) {
  std::unique_ptr<CacheSession> session = OpenWriter();
  const std::vector<v1::GrantedSlot> slots = Grant(*session, 2);
  ASSERT_EQ(slots.size(), 2u);
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto arena = Map(*session);
    if (!arena.ok() || write(ready[1], "m", 1) != 1) _exit(1);
    const auto bytes = (*arena)->Slot(slots[0], block_bytes_);
    for (unsigned char value = 0; bytes.ok(); ++value) {
      std::memset(bytes->data(), value, bytes->size());
    }
    _exit(2);
  }
  close(ready[1]);  // so that a client that ends without a word is seen
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1) << "the client has not got the arena";
  // Its session ends, as if its machine had dropped the call; but it lives and writes.
  session.reset();
  absl::Time deadline = absl::Now() + absl::Seconds(1);
  while (absl::Now() < deadline) {
    client_.Match(ns_, TestTokens(1), kTestTimeout).IgnoreError();
    ASSERT_EQ(server_.store().stats().writing_blocks, 2) << "a slot that is written was freed";
  }
  // Everything else may be used.
  EXPECT_EQ(PutBlocks(kSlots - 2).stored_blocks(), kSlots - 2);
  EXPECT_EQ(GetAndCompare(0)["ram"], kSlots - 2);
  ASSERT_EQ(kill(child, SIGKILL), 0);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(AwaitWritingBlocks(0), 0);
  EXPECT_EQ(GetAndCompare(0)["ram"], kSlots - 2);
  close(ready[0]);
}

TEST_F(SharedMemoryTest, AGrantThatNobodyMappedIsFreeWhenItsSessionEnds) {
  std::unique_ptr<CacheSession> session = OpenWriter();
  EXPECT_EQ(Grant(*session, 2).size(), 2u);
  EXPECT_EQ(server_.store().stats().writing_blocks, 2);
  session.reset();
  EXPECT_EQ(AwaitWritingBlocks(0), 0);
}

}  // namespace
}  // namespace reprise::api
