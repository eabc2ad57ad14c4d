#include "cachestore/store/device_transfers.h"

#include <utility>

#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

// What a lane works on at a time: some 5 ms of its link, so that it never runs dry, and what is
// awaited never waits for long behind what is not.
constexpr uint64_t kMaxBytesInFlight = uint64_t{256} << 20;

uint64_t BytesOf(const DeviceTransfer& transfer) {
  uint64_t bytes = 0;
  for (const CopyPiece& piece : transfer.pieces) bytes += piece.bytes;
  return bytes;
}

}  // namespace

DeviceTransfers::DeviceTransfers(Device* device) : device_(device) {
  LineOf(Lane::kToHost).lane = Lane::kToHost;
  for (Line& line : lines_) {
    line.thread = std::thread([this, &line] { Run(line); });
  }
}

DeviceTransfers::~DeviceTransfers() {
  for (Line& line : lines_) {
    {
      absl::MutexLock lock(&line.mu);
      line.closing = true;
      line.changed.Signal();
    }
    line.thread.join();
  }
}

void DeviceTransfers::Start(Lane lane, Urgency urgency, DeviceTransfer transfer) {
  CHECK(lane != Lane::kCompute && !transfer.pieces.empty());
  Line& line = LineOf(lane);
  absl::MutexLock lock(&line.mu);
  CHECK(!line.closing);
  line.waiting[static_cast<size_t>(urgency)].push_back(std::move(transfer));
  Feed(line);
}

void DeviceTransfers::Feed(Line& line) {
  for (std::deque<DeviceTransfer>& waiting : line.waiting) {
    while (!waiting.empty()) {
      DeviceTransfer& next = waiting.front();
      const uint64_t bytes = BytesOf(next);
      // One that is larger goes alone.
      if (line.bytes_in_flight > 0 && line.bytes_in_flight + bytes > kMaxBytesInFlight) return;
      device_->Await(line.lane, next.after);
      InFlight copy = {.status = device_->Copy(line.lane, next.pieces),
                       .bytes = bytes,
                       .given = std::move(next.given),
                       .done = std::move(next.done)};
      copy.end = device_->Mark(line.lane);
      if (copy.given && copy.status.ok()) copy.given(copy.end);
      line.bytes_in_flight += bytes;
      line.in_flight.push_back(std::move(copy));
      line.changed.Signal();
      waiting.pop_front();
    }
  }
}

void DeviceTransfers::Run(Line& line) {
  for (;;) {
    InFlight copy;
    {
      absl::MutexLock lock(&line.mu);
      while (line.in_flight.empty() && !line.closing) line.changed.Wait(&line.mu);
      if (line.in_flight.empty()) return;
      copy = std::move(line.in_flight.front());
      line.in_flight.pop_front();
    }
    const absl::Status status = copy.status.ok() ? device_->Wait(copy.end) : copy.status;
    {
      // First, so that the lane does not run dry while the end is told.
      absl::MutexLock lock(&line.mu);
      line.bytes_in_flight -= copy.bytes;
      Feed(line);
    }
    copy.given = nullptr;
    std::move(copy.done)(status);
  }
}

}  // namespace reprise::cachestore
