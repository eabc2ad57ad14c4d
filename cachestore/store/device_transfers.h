// DeviceTransfers: copies blocks between RAM and the GPU on the device's two copy lanes, and tells
// when each copy has ended. Each lane has one thread, which waits for the oldest copy of it.
//
//     Start --> waiting (awaited first, then background) --> in flight, at most 256 MiB --> done
//
// What orders a copy behind the steps is `after`, which the lane awaits; what orders a step behind
// a copy is that nobody is told of the block before `done`, or that the step awaits what `given`
// got. Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/memory/device.h"

namespace reprise::cachestore {

// Whether somebody waits for a copy: those go first.
enum class Urgency : uint8_t { kAwaited, kBackground };

// Some copies that end together. All bytes stay where they are, and are used by nobody else, until
// `done` is called.
struct DeviceTransfer {
  std::vector<CopyPiece> pieces;
  Moment after;  // of the compute lane
  // May be empty. Gets the moment by which the pieces have landed, once the lane has been given
  // them and unless that failed: before `done`, under a lock of the transfers, for a moment.
  absl::AnyInvocable<void(Moment)> given;
  // Gets OK, or the device's error: then what was copied is undefined. Called once, on the lane's
  // thread and without any lock.
  absl::AnyInvocable<void(const absl::Status&) &&> done;

  // Adds a piece that must not start before `moment`, of the compute lane.
  void Add(const CopyPiece& piece, Moment moment) {
    pieces.push_back(piece);
    if (moment.number > after.number) after = moment;
  }
};

class DeviceTransfers {
 public:
  // `device` outlives this.
  explicit DeviceTransfers(Device* device);
  // Waits until all copies have ended. BLOCKS. REQUIRES: Start is not called any more.
  ~DeviceTransfers();

  // `lane` is kToDevice or kToHost, as the pieces go. Never waits for a copy.
  void Start(Lane lane, Urgency urgency, DeviceTransfer transfer);

 private:
  struct InFlight {
    Moment end;
    absl::Status status;  // of giving it to the device
    uint64_t bytes = 0;
    absl::AnyInvocable<void(Moment)> given;  // called; what it holds must not end under the lock
    absl::AnyInvocable<void(const absl::Status&) &&> done;
  };
  // One of the two lanes. Its lock is below every other but the device's own.
  struct Line {
    Lane lane = Lane::kToDevice;
    absl::Mutex mu;
    absl::CondVar changed;
    std::array<std::deque<DeviceTransfer>, 2> waiting ABSL_GUARDED_BY(mu);  // by Urgency
    std::deque<InFlight> in_flight ABSL_GUARDED_BY(mu);
    uint64_t bytes_in_flight ABSL_GUARDED_BY(mu) = 0;
    bool closing ABSL_GUARDED_BY(mu) = false;
    std::thread thread;
  };

  Line& LineOf(Lane lane) { return lines_[lane == Lane::kToDevice ? 0 : 1]; }
  // Gives the lane what waits, as much as may be in flight.
  void Feed(Line& line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(line.mu);
  void Run(Line& line);

  Device* const device_;
  std::array<Line, 2> lines_;
};

}  // namespace reprise::cachestore
