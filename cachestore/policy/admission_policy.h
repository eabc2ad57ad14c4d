// AdmissionPolicy: whether a block that RAM gives up is worth a write to disk. Asked when RAM
// evicts and never before: blocks are written lazily, not through. Immutable; thread-safe.
#pragma once

#include "absl/functional/function_ref.h"

namespace reprise::cachestore {

// What is known of a block when its turn comes. Valid during the call.
struct AdmissionRequest {
  bool reused = false;              // a request found it since it came into the store
  bool disk_is_full = false;        // another block must leave the disk for it
  bool goes_before_victim = false;  // and that one goes later than this one
  // EvictionPolicy::ReuseProbability, which takes a microsecond: only who reads it asks.
  absl::FunctionRef<double()> reuse_probability;
};

class AdmissionPolicy {
 public:
  virtual ~AdmissionPolicy() = default;
  // False: the block is dropped when its slot is needed.
  virtual bool Admit(const AdmissionRequest& request) const = 0;
};

// Writes whatever RAM gives up.
class AdmitAll : public AdmissionPolicy {
 public:
  bool Admit(const AdmissionRequest&) const override { return true; }
};

// Never lets a block that nobody asked for again push out one that was used later: saves the writes
// that would only make a full disk colder.
class AdmitUseful : public AdmissionPolicy {
 public:
  bool Admit(const AdmissionRequest& request) const override {
    return request.reused || !request.disk_is_full || !request.goes_before_victim;
  }
};

// Writes what is likely enough to be used again to be worth a write, as the eviction policy has
// learned: not what a conversation has left behind, nor what nobody asks for a second time.
class AdmitLikely : public AdmissionPolicy {
 public:
  bool Admit(const AdmissionRequest& request) const override {
    return request.reuse_probability() >= kLeastProbability;
  }

 private:
  // Keeps 99 % of all hits on the first half of a trace of chats: bench/README.md.
  static constexpr double kLeastProbability = 0.05;
};

}  // namespace reprise::cachestore
