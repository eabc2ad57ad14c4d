// How often a payload is copied on its way over the wire (api/README.md, "Two ways for blocks"):
// the real service behind a gRPC server that notes where the messages lie that it takes and gives.
#include <gmock/gmock.h>
#include <grpc/slice.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "api/auth/caller.h"
#include "api/cache_service.h"
#include "api/payload_wire.h"
#include "cachestore/base/hash.h"
#include "tests/api/test_server.h"

namespace reprise::api {
namespace {

using cachestore::StreamHash64;
using grpc::experimental::InterceptionHookPoints;

using Range = std::pair<const void*, size_t>;  // begin and bytes

bool LiesIn(const Range& outer, const Range& inner) {
  const auto* begin = static_cast<const std::byte*>(inner.first);
  const auto* outer_begin = static_cast<const std::byte*>(outer.first);
  return begin >= outer_begin && begin + inner.second <= outer_begin + outer.second;
}

// What is copied while a test looks.
struct Copy {
  Range from;
  const std::byte* to;
};
absl::Mutex copies_mu;
std::vector<Copy>* copies ABSL_GUARDED_BY(copies_mu) = nullptr;  // null: nobody looks

// The slices of messages, which it holds, in the order in which they were seen.
class SeenSlices {
 public:
  void Add(const grpc::ByteBuffer& message) {
    std::vector<grpc::Slice> slices;
    CHECK(message.Dump(&slices).ok());
    absl::MutexLock lock(&mu_);
    for (grpc::Slice& slice : slices) slices_.push_back(std::move(slice));
  }
  std::vector<grpc::Slice> Take() {
    absl::MutexLock lock(&mu_);
    return std::exchange(slices_, {});
  }

 private:
  absl::Mutex mu_;
  std::vector<grpc::Slice> slices_ ABSL_GUARDED_BY(mu_);
};

// Sees the messages that Put takes and Get gives.
class Spy final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  Spy(SeenSlices* in, SeenSlices* out) : in_(in), out_(out) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    return new OfCall(absl::EndsWith(info->method(), "/Put") ? in_ : nullptr,
                      absl::EndsWith(info->method(), "/Get") ? out_ : nullptr);
  }

 private:
  class OfCall final : public grpc::experimental::Interceptor {
   public:
    OfCall(SeenSlices* in, SeenSlices* out) : in_(in), out_(out) {}
    void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
      if (in_ != nullptr &&
          methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE)) {
        // null: the client has said all.
        const auto* message = static_cast<const grpc::ByteBuffer*>(methods->GetRecvMessage());
        if (message != nullptr) in_->Add(*message);
      }
      if (out_ != nullptr &&
          methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) {
        out_->Add(*methods->GetSerializedSendMessage());
      }
      methods->Proceed();
    }

   private:
    SeenSlices* const in_;
    SeenSlices* const out_;
  };

  SeenSlices* const in_;
  SeenSlices* const out_;
};

class DataPathTest : public ::testing::Test {
 protected:
  DataPathTest() {
    cachestore::StoreOptions options;
    options.ram.capacity_bytes = 4 << 20;
    options.disk.directory = folder_ / "disk";
    options.disk.capacity_bytes = 16 << 20;
    store_ = *cachestore::TieredStore::Open(options);
    arena_ = {store_->ram_arena().bytes().data(), store_->ram_arena().bytes().size()};
    guard_ = *Guard::Open(GuardOptions());
    service_ = std::make_unique<CacheService>(store_.get(), nullptr, SessionLimitsOf(*store_),
                                              SharedArena(), kMaxMessageTime);
    ListenAddress listen;
    listen.unix_path = folder_ / "socket";
    grpc::ServerBuilder builder;
    builder.AddListeningPort(listen.ToString(), grpc::InsecureServerCredentials());
    builder.RegisterService(service_.get());
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> all;
    all.push_back(
        std::make_unique<CallerInterceptorFactory>(listen, guard_.get(), &running_, kMaxSilence));
    all.push_back(std::make_unique<Spy>(&in_, &out_));
    builder.experimental().SetInterceptorCreators(std::move(all));
    server_ = builder.BuildAndStart();
    client_ = std::make_unique<CacheClient>(listen.ToString());
    const auto opened = client_->OpenNamespace(TestIdentity(), kTestTimeout);
    CHECK(opened.ok());
    ns_ = opened->namespace_id();
    block_bytes_ = static_cast<size_t>(opened->block_bytes());
  }
  ~DataPathTest() override {
    in_.Take();
    out_.Take();  // they hold pins
    server_->Shutdown(absl::ToChronoTime(absl::Now()));
    server_->Wait();
    service_->send_budget().AwaitIdle(absl::Now() + kTestTimeout);
  }

  // Stores kBlocks blocks; the copies that this took.
  std::vector<Copy> Put() {
    std::vector<Copy> seen;
    {
      absl::MutexLock lock(&copies_mu);
      copies = &seen;
    }
    const auto put = client_->Put(ns_, {}, TestBlocks(tokens_, payloads(), 0), kTestTimeout);
    EXPECT_TRUE(put.ok() && put->stored_blocks() == kBlocks) << put.status();
    absl::MutexLock lock(&copies_mu);
    copies = nullptr;
    return seen;
  }
  std::vector<std::string> payloads() const {
    return TestPayloads(kBlocks, static_cast<int64_t>(block_bytes_));
  }
  // Where the payloads lie that Get sends, block by block.
  std::vector<const void*> Get() {
    std::vector<std::string> got;
    EXPECT_TRUE(client_
                    ->Get(ns_, tokens_, 0, kTestTimeout,
                          [&](const v1::GetResponse& block) { got.push_back(block.payload()); })
                    .ok());
    EXPECT_EQ(got, payloads());
    std::vector<const void*> blocks = BlocksOf(out_.Take());
    // The client has its answer before the server's transport lets go of the last blocks.
    EXPECT_TRUE(service_->send_budget().AwaitIdle(absl::Now() + kTestTimeout));
    return blocks;
  }
  // Those of the slices that are as long as a block.
  std::vector<const void*> BlocksOf(const std::vector<grpc::Slice>& slices) const {
    std::vector<const void*> blocks;
    for (const grpc::Slice& slice : slices) {
      if (slice.size() == block_bytes_) blocks.push_back(slice.begin());
    }
    return blocks;
  }
  int NumInArena(const std::vector<const void*>& blocks) const {
    int count = 0;
    for (const void* block : blocks) count += LiesIn(arena_, {block, block_bytes_}) ? 1 : 0;
    return count;
  }

  static constexpr int kBlocks = 40;
  TempFolder folder_;
  std::unique_ptr<cachestore::TieredStore> store_;
  Range arena_;
  std::unique_ptr<Guard> guard_;
  RunningCalls running_;
  std::unique_ptr<CacheService> service_;
  SeenSlices in_;   // of Put
  SeenSlices out_;  // of Get
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<CacheClient> client_;
  const std::vector<uint32_t> tokens_ = TestTokens(kBlocks);
  uint32_t ns_ = 0;
  size_t block_bytes_ = 0;
};

TEST_F(DataPathTest, GetGivesTheTransportTheBlocksInTheArena) {
  Put();
  const std::vector<const void*> from_ram = Get();
  EXPECT_EQ(from_ram.size(), size_t{kBlocks});
  EXPECT_EQ(NumInArena(from_ram), kBlocks);
  EXPECT_EQ(Get(), from_ram) << "the blocks themselves, and so the same ones";
  ASSERT_EQ(client_->Demote(kTestTimeout).value_or(-1), kBlocks);
  EXPECT_EQ(NumInArena(Get()), kBlocks) << "loaded from disk";
}

TEST_F(DataPathTest, ACopiedSliceIsFoundOut) {
  const std::string payload = payloads()[0];
  const grpc::ByteBuffer message =
      JoinPayload(v1::GetResponse(), v1::GetResponse::kPayloadFieldNumber, {grpc::Slice(payload)});
  SeenSlices seen;
  seen.Add(message);
  const std::vector<const void*> blocks = BlocksOf(seen.Take());
  EXPECT_EQ(blocks.size(), 1u);
  EXPECT_EQ(NumInArena(blocks), 0);
}

TEST_F(DataPathTest, PutCopiesEachByteOnceFromTheTransportIntoTheArena) {
  const std::vector<Copy> seen = Put();
  const std::vector<grpc::Slice> received = in_.Take();
  size_t bytes = 0;
  std::set<const void*> slots;  // that a copy begins with
  for (const Copy& copy : seen) {
    bytes += copy.from.second;
    // A piece as short as this gRPC keeps in the slice itself.
    bool is_received = copy.from.second <= GRPC_SLICE_INLINED_SIZE;
    for (const grpc::Slice& slice : received) {
      is_received |= LiesIn({slice.begin(), slice.size()}, copy.from);
    }
    EXPECT_TRUE(is_received) << "not from the transport's memory";
    EXPECT_TRUE(LiesIn(arena_, {copy.to, copy.from.second})) << "not into the arena";
    slots.insert(copy.to);
  }
  EXPECT_EQ(bytes, kBlocks * block_bytes_);
  // And there they are sent from.
  for (const void* block : Get()) EXPECT_TRUE(slots.contains(block));
}

}  // namespace
}  // namespace reprise::api

// StreamHash64::AddCopy, by which a payload is copied, for all who call it: the linker puts this in
// its place (CMakeLists.txt).
extern "C" {
void __real__ZN7reprise10cachestore12StreamHash647AddCopyEN4absl7debian34SpanIKSt4byteEEPS5_(
    reprise::cachestore::StreamHash64* hash, absl::Span<const std::byte> from, std::byte* to);
void __wrap__ZN7reprise10cachestore12StreamHash647AddCopyEN4absl7debian34SpanIKSt4byteEEPS5_(
    reprise::cachestore::StreamHash64* hash, absl::Span<const std::byte> from, std::byte* to) {
  {
    absl::MutexLock lock(&reprise::api::copies_mu);
    if (reprise::api::copies != nullptr) {
      reprise::api::copies->push_back({{from.data(), from.size()}, to});
    }
  }
  __real__ZN7reprise10cachestore12StreamHash647AddCopyEN4absl7debian34SpanIKSt4byteEEPS5_(hash,
                                                                                          from, to);
}
}
