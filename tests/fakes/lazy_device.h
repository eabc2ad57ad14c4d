// LazyDevice: a Device on host memory that does its work as late as the contract allows, or, with a
// seed, at any moment that it allows. Code that forgets an order which a real device would only
// sometimes miss reads wrong bytes here:
//  - nothing runs before a Wait, or polling, forces it; then only what that depends on;
//  - a copy that may have started has poisoned its destination until it lands, and takes what its
//    source holds then, or (by seed) held when it started;
//  - fresh memory is poison.
// Misuse that a real device would not notice ends the process: memory that is not pinned, moments
// that nobody marked, memory given back under a copy. Thread-safe.
#pragma once

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/base/check.h"
#include "cachestore/memory/device.h"
#include "cachestore/memory/memory_map.h"

namespace reprise::cachestore {

class LazyDevice : public Device {
 public:
  // NaN in every floating-point format that KV is stored in, and no valid block table entry.
  static constexpr std::byte kPoison{0xff};

  // What Stream() points at. `work` stands for a kernel: it runs on some thread that calls the
  // device, and must not call it.
  class Queue {
   public:
    Queue(LazyDevice* device, Lane lane) : device_(device), lane_(lane) {}

    void Enqueue(absl::AnyInvocable<void() &&> work) {
      absl::MutexLock lock(&device_->mu_);
      device_->Add(lane_, {.work = std::move(work)});
    }

   private:
    LazyDevice* const device_;
    const Lane lane_;
  };

  // Seed 0: all work as late as it may be. Others: a random order for each seed.
  explicit LazyDevice(uint64_t seed = 0, size_t capacity_bytes = size_t{64} << 20)
      : is_random_(seed != 0), capacity_bytes_(capacity_bytes), random_(seed) {}
  ~LazyDevice() override {
    absl::MutexLock lock(&mu_);
    for (int lane = 0; lane < kNumLanes; ++lane) {
      RunUntil({static_cast<Lane>(lane), lanes_[lane].given});
    }
    CHECK(used_bytes_ == 0);
  }

  absl::StatusOr<DeviceBytes> Reserve(size_t bytes) override {
    CHECK(bytes > 0 && bytes % kAlignment == 0);
    absl::MutexLock lock(&mu_);
    if (bytes > capacity_bytes_ - used_bytes_) {
      return absl::ResourceExhaustedError(
          absl::StrCat("cannot reserve ", bytes,
                       " bytes of the device: ", capacity_bytes_ - used_bytes_, " are free"));
    }
    auto* data = static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes));
    CHECK(data != nullptr);
    std::memset(data, static_cast<int>(kPoison), bytes);
    used_bytes_ += bytes;
    map_.Add({data, bytes}, MemoryMap::Kind::kDevice);
    return DeviceBytes({data, bytes}, [this, data, bytes] {
      Forget({data, bytes});
      absl::MutexLock lock(&mu_);
      used_bytes_ -= bytes;
      std::free(data);
    });
  }

  absl::StatusOr<DeviceBytes> Register(absl::Span<std::byte> host) override {
    CHECK(!host.empty() && host.size() % kAlignment == 0);
    CHECK(reinterpret_cast<uintptr_t>(host.data()) % kAlignment == 0);
    absl::MutexLock lock(&mu_);
    map_.Add(host, MemoryMap::Kind::kHost);
    return DeviceBytes(host, [this, host] { Forget(host); });
  }

  absl::Status Copy(Lane lane, absl::Span<const CopyPiece> pieces) override {
    absl::MutexLock lock(&mu_);
    if (!failure_.ok()) return failure_;
    if (pieces.empty()) return absl::OkStatus();
    CHECK(MayCopy(lane, DirectionOf(pieces, map_)));
    Add(lane, {.pieces = {pieces.begin(), pieces.end()}});
    return absl::OkStatus();
  }

  Moment Mark(Lane lane) override {
    absl::MutexLock lock(&mu_);
    return {lane, lanes_[Index(lane)].given};
  }

  void Await(Lane lane, Moment moment) override {
    absl::MutexLock lock(&mu_);
    CHECK(moment.number <= lanes_[Index(moment.lane)].given);
    if (!Passed(moment)) Add(lane, {.awaited = moment});
  }

  bool HasPassed(Moment moment) override {
    absl::MutexLock lock(&mu_);
    CHECK(moment.number <= lanes_[Index(moment.lane)].given);
    if (Passed(moment)) return true;
    if (!failure_.ok()) return false;
    RunAtRandom();
    if (Draw(4) == 0) RunUntil(moment);  // else somebody who only polls would never see it
    return Passed(moment);
  }

  absl::Status Wait(Moment moment) override {
    absl::MutexLock lock(&mu_);
    CHECK(moment.number <= lanes_[Index(moment.lane)].given);
    if (Passed(moment)) return absl::OkStatus();
    if (!failure_.ok()) return failure_;
    RunAtRandom();
    RunUntil(moment);
    return absl::OkStatus();
  }

  void* Stream(Lane lane) override { return &queues_[Index(lane)]; }

  // From now on the device has failed with `failure`: what has not run never does, and no moment
  // that is marked from now on passes.
  void Fail(absl::Status failure) {
    absl::MutexLock lock(&mu_);
    failure_ = std::move(failure);
    for (LaneState& lane : lanes_) {
      lane.waiting.clear();
      ++lane.given;
    }
  }
  // Pieces of work that `lane` was given and that have not ended.
  size_t num_waiting(Lane lane) const {
    absl::MutexLock lock(&mu_);
    return lanes_[Index(lane)].waiting.size();
  }

 private:
  // One of the three.
  struct Work {
    std::vector<CopyPiece> pieces;
    absl::AnyInvocable<void() &&> work;
    std::optional<Moment> awaited;

    bool has_started = false;                  // of a copy: its destination is poison
    std::vector<std::vector<std::byte>> read;  // what it read when it started; else it reads later
  };
  struct LaneState {
    std::deque<Work> waiting;
    uint64_t given = 0;
    uint64_t ended = 0;
  };

  static size_t Index(Lane lane) { return static_cast<size_t>(lane); }

  // A random number below `n`; with seed 0 a sequence that counts.
  uint64_t Draw(uint64_t n) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return (is_random_ ? random_() : ++num_draws_) % n;
  }

  bool Passed(Moment moment) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return lanes_[Index(moment.lane)].ended >= moment.number;
  }

  void Add(Lane lane, Work work) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!failure_.ok()) return;
    lanes_[Index(lane)].waiting.push_back(std::move(work));
    ++lanes_[Index(lane)].given;
    StartCopies();
    RunAtRandom();
  }

  // What starts as soon as it may: the copy at the front of a lane, behind what it awaits.
  void StartCopies() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    for (bool changed = true; changed;) {
      changed = false;
      for (LaneState& lane : lanes_) {
        while (!lane.waiting.empty() && lane.waiting.front().awaited.has_value() &&
               Passed(*lane.waiting.front().awaited)) {
          lane.waiting.pop_front();
          ++lane.ended;
          changed = true;
        }
        if (!lane.waiting.empty()) Start(lane.waiting.front());
      }
    }
  }

  void Start(Work& copy) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (copy.pieces.empty() || copy.has_started) return;
    copy.has_started = true;
    if (is_random_ && Draw(2) == 0) {
      for (const CopyPiece& piece : copy.pieces) {
        copy.read.emplace_back(piece.from, piece.from + piece.bytes);
      }
    }
    for (const CopyPiece& piece : copy.pieces) {
      std::fill_n(piece.to, piece.bytes, kPoison);
    }
  }

  void Land(Work& copy) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    Start(copy);
    for (size_t i = 0; i < copy.pieces.size(); ++i) {
      const CopyPiece& piece = copy.pieces[i];
      std::copy_n(copy.read.empty() ? piece.from : copy.read[i].data(), piece.bytes, piece.to);
    }
  }

  // REQUIRES: a moment that is awaited at the front has passed.
  void RunFront(Lane which) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    LaneState& lane = lanes_[Index(which)];
    Work work = std::move(lane.waiting.front());
    lane.waiting.pop_front();
    if (work.work) std::move(work.work)();
    Land(work);
    ++lane.ended;
    StartCopies();
  }

  void RunUntil(Moment moment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!failure_.ok()) return;
    LaneState& lane = lanes_[Index(moment.lane)];
    while (!Passed(moment)) {
      if (const auto awaited = lane.waiting.front().awaited; awaited.has_value()) {
        RunUntil(*awaited);
        StartCopies();  // takes the wait away
      } else {
        RunFront(moment.lane);
      }
    }
  }

  // With a seed: some work that may run now does, in lanes drawn at random.
  void RunAtRandom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    while (is_random_ && Draw(3) != 0) {
      const Lane lane = static_cast<Lane>(Draw(kNumLanes));
      const std::deque<Work>& waiting = lanes_[Index(lane)].waiting;
      if (!waiting.empty() && !waiting.front().awaited.has_value()) RunFront(lane);
    }
  }

  void Forget(absl::Span<const std::byte> range) {
    absl::MutexLock lock(&mu_);
    const auto touches = [&](const std::byte* begin, size_t bytes) {
      return begin < range.data() + range.size() && range.data() < begin + bytes;
    };
    for (const LaneState& lane : lanes_) {
      for (const Work& work : lane.waiting) {
        for (const CopyPiece& piece : work.pieces) {
          CHECK(!touches(piece.to, piece.bytes) && !touches(piece.from, piece.bytes));
        }
      }
    }
    map_.Remove(range.data());
  }

  const bool is_random_;
  const size_t capacity_bytes_;
  std::array<Queue, kNumLanes> queues_ = {
      {{this, Lane::kCompute}, {this, Lane::kToDevice}, {this, Lane::kToHost}}};

  mutable absl::Mutex mu_;
  std::mt19937_64 random_ ABSL_GUARDED_BY(mu_);
  uint64_t num_draws_ ABSL_GUARDED_BY(mu_) = 0;
  MemoryMap map_ ABSL_GUARDED_BY(mu_);
  size_t used_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::array<LaneState, kNumLanes> lanes_ ABSL_GUARDED_BY(mu_);
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
};

}  // namespace reprise::cachestore
