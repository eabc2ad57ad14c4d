// A card that fails for good under an engine on CudaBackend, emulated: nobody waits for what it
// will never compute, and the engine says why it takes nothing more.
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/synchronization/notification.h"
#include "cachestore/store/tiered_store.h"
#include "engine/backend/cuda/cuda_backend.h"
#include "engine/engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/collecting_sink.h"
#include "tests/fakes/held_device.h"
#include "tests/fakes/host_products.h"
#include "tests/fakes/lazy_device.h"
#include "tests/reuse/tiny_model_folder.h"

namespace reprise::engine::cuda {
namespace {

using cachestore::CopyPiece;
using cachestore::Lane;
using cachestore::TieredStore;
using testing::AllOf;
using testing::HasSubstr;

// Refuses one copy of a step where it is told to, and is as good as before.
class RefusingDevice : public cachestore::HeldDevice {
 public:
  using HeldDevice::HeldDevice;

  void RefuseNextCopy() { refuses_ = true; }
  absl::Status Copy(Lane lane, absl::Span<const CopyPiece> pieces) override {
    if (lane == Lane::kCompute && refuses_.exchange(false)) {
      return absl::ResourceExhaustedError("no memory for a copy");
    }
    return HeldDevice::Copy(lane, pieces);
  }

 private:
  std::atomic<bool> refuses_ = false;
};

class LostCardTest : public testing::Test {
 protected:
  LostCardTest() {
    cachestore::StoreOptions store_options;
    store_options.gpu.capacity_bytes = 1 << 20;
    store_options.ram.capacity_bytes = 1 << 20;
    store_ = *TieredStore::Open(store_options, &device_);
    EngineOptions options;
    options.model_folder = folder_.path();
    options.max_running = 2;
    auto opened = Engine::Open(
        options, store_.get(),
        NewCudaBackend(*MemoryCopy::Create(&device_), std::make_unique<HostProducts>(), nullptr));
    EXPECT_TRUE(opened.ok()) << opened.status();
    engine_ = *std::move(opened);
    engine_->OnLost([this] { ++times_lost_; });
  }

  // A request for so many tokens. `on_token` runs after each.
  std::shared_ptr<CollectingSink> Submit(int64_t tokens, std::function<void()> on_token = nullptr) {
    GenerateRequest request;
    request.prompt.assign(20, 7);
    request.stop.max_new_tokens = tokens;
    request.stop.ignore_eos = true;
    auto sink = std::make_shared<CollectingSink>(std::move(on_token));
    const auto id = engine_->Submit(std::move(request), sink);
    EXPECT_TRUE(id.ok()) << id.status();
    return sink;
  }

  void ExpectLost(const std::string& cause) {
    EXPECT_EQ(engine_->health().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(engine_->health().message()),
                AllOf(HasSubstr("failed for good"), HasSubstr(cause)));
    EXPECT_EQ(engine_->Submit({.prompt = {5}}, std::make_shared<CollectingSink>()).status(),
              engine_->health());
    EXPECT_EQ(times_lost_, 1);
    // Who comes too late is told at once.
    engine_->OnLost([this] { ++times_lost_; });
    EXPECT_EQ(times_lost_, 2);
  }

  const TinyModelFolder folder_{"llama_gqa_tied"};
  cachestore::LazyDevice card_;
  RefusingDevice device_{&card_};
  std::unique_ptr<TieredStore> store_;
  std::atomic<int> times_lost_ = 0;
  std::unique_ptr<Engine> engine_;  // its thread uses all of the above
};

TEST_F(LostCardTest, EndsEveryRequestAndTheEngineSaysWhy) {
  absl::Notification all_submitted;
  const auto running = Submit(100, [&] {
    all_submitted.WaitForNotification();
    card_.Fail(absl::InternalError("illegal address"));
  });
  const auto beside = Submit(100);
  const auto waiting = Submit(100);
  all_submitted.Notify();
  for (const auto& sink : {running, beside, waiting}) {
    ASSERT_TRUE(sink->Wait());
    EXPECT_EQ(sink->status(), engine_->health());
  }
  EXPECT_GE(running->tokens().size(), 1u) << "lost before it had run";
  ExpectLost("illegal address");
}

TEST_F(LostCardTest, WhatACopyLosesTheEngineLosesToo) {
  ASSERT_TRUE(Submit(3)->Wait());
  device_.FailLane(Lane::kToHost, absl::InternalError("off the bus"));
  const cachestore::NamespaceHandle ns = *engine_->NamespaceOf("default", "");
  cachestore::PinTicket ticket =
      store_->Pin(ns, std::vector<cachestore::TokenId>(20, 7), /*max_blocks=*/1, nullptr);
  ASSERT_TRUE(ticket.Wait(absl::Now() + absl::Minutes(1)));
  EXPECT_EQ(store_->health(cachestore::Tier::kRam), absl::OkStatus());
  ASSERT_EQ(store_->health(cachestore::Tier::kGpu).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(engine_->health(), absl::OkStatus()) << "nothing was to be computed";

  const auto next = Submit(3);
  ASSERT_TRUE(next->Wait());
  EXPECT_EQ(next->status(), engine_->health());
  ExpectLost("there is no GPU tier");
}

TEST_F(LostCardTest, AStepThatFailsOnAGoodCardIsNoneOfThat) {
  const auto failing = Submit(100, [this] { device_.RefuseNextCopy(); });
  ASSERT_TRUE(failing->Wait());
  EXPECT_EQ(failing->status(), absl::ResourceExhaustedError("no memory for a copy"));
  const auto next = Submit(3);
  ASSERT_TRUE(next->Wait());
  EXPECT_EQ(next->tokens().size(), 3u);
  EXPECT_EQ(engine_->health(), absl::OkStatus());
  EXPECT_EQ(times_lost_, 0);
}

}  // namespace
}  // namespace reprise::engine::cuda
