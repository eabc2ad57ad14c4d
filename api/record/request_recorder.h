// RequestRecorder: writes the requests that a store sees into a KTR1 file
// (cachestore/trace/ktr_trace.h): numbers for blocks and sessions, lengths and times; no keys, no
// tokens, no text.
//
// A request is in the file in the order in which the store answered it, with the length and the
// ending of its answer if these were told within kPatience. What an answer leaves behind that no
// request had asked for is a request of 0 input tokens: its blocks are stored, and nothing is
// looked up. Requests whose blocks hold other numbers of tokens than the first one's are dropped.
//
// Never waits for the disk where requests are served: what comes faster than it is written is
// dropped and counted. Ends by itself when the file, or what it takes to number blocks (some 40
// bytes a block), is as large as it may be. Thread-safe; one lock, taken under the store's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "cachestore/store/request_observer.h"
#include "cachestore/trace/ktr_writer.h"

namespace reprise::api {

struct RecordingLimits {
  int64_t file_bytes = int64_t{1} << 30;
  int64_t blocks = int64_t{4} << 20;
  int64_t waiting_bytes = int64_t{64} << 20;  // of requests that are not written yet
  // How long a request waits for its end, and those behind it for it.
  absl::Duration patience = absl::Seconds(30);
};

// What has become of a recording so far.
struct RecordingProgress {
  std::string path;
  int64_t requests = 0;  // in the file, those of 0 input tokens left out
  int64_t blocks = 0;
  int64_t dropped_requests = 0;
  int64_t bytes = 0;
  std::string cause;  // why it has ended by itself; empty: it has not
};

class RequestRecorder : public cachestore::RequestObserver {
 public:
  // Makes the file. kAlreadyExists: it is there; kInvalidArgument: it cannot be made.
  static absl::StatusOr<std::shared_ptr<RequestRecorder>> Start(const std::string& path,
                                                                const RecordingLimits& limits);
  // As Stop.
  ~RequestRecorder() override;

  void OnRequest(const cachestore::StoreRequest& request) override ABSL_LOCKS_EXCLUDED(mu_);
  void OnEnd(const cachestore::StoreRequestEnd& end) override ABSL_LOCKS_EXCLUDED(mu_);

  RecordingProgress progress() const ABSL_LOCKS_EXCLUDED(mu_);
  // Writes what is waiting and closes the file. BLOCKS. What comes later is dropped. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // A request, or what one leaves behind.
  struct Record {
    absl::Time taken;     // when it was, which says how long it has waited
    int64_t time_ms = 0;  // as the store told
    std::vector<cachestore::BlockKey> keys;
    bool is_request = false;
    bool is_whole = true;  // keys begin at the root
    bool awaits_end = false;
    uint64_t number = 0;   // RequestHints::request
    uint64_t session = 0;  // as it was told
    int64_t input_tokens = 0;
    int64_t output_tokens = 0;
    cachestore::TraceFinish finish = cachestore::TraceFinish::kUnknown;

    int64_t bytes() const;
  };

  RequestRecorder(std::string path, const RecordingLimits& limits,
                  std::unique_ptr<cachestore::KtrWriter> writer);

  // Adds `record`, or drops it.
  void Push(Record record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether the first record is to be written by now.
  bool MayWriteFirst(absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Record TakeFirst() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The records that are to be written now, kBatchRecords at most. BLOCKS until there are some, it
  // is stopping, or it is time to look again.
  std::vector<Record> AwaitBatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The thread.
  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  // Gives numbers to the blocks and writes the record. The thread alone.
  absl::Status Write(const Record& record);
  absl::Status Write(const std::vector<Record>& batch, int64_t block_tokens);
  // kResourceExhausted: a limit is reached.
  absl::Status CheckLimits() const;
  // Nothing more is written.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);

  const std::string path_;
  const RecordingLimits limits_;
  // Of the thread alone.
  std::unique_ptr<cachestore::KtrWriter> writer_;
  absl::flat_hash_map<cachestore::BlockKey, cachestore::BlockNumber> numbers_;
  absl::flat_hash_map<uint64_t, uint64_t> sessions_;  // as told -> 1, 2, ...
  int64_t began_ms_ = 0;                              // the first request's time
  int64_t num_requests_ = 0;                          // written, as progress counts them

  mutable absl::Mutex mu_;
  absl::CondVar changed_;
  int64_t block_tokens_ ABSL_GUARDED_BY(mu_) = 0;  // of the first request; 0: none yet
  std::deque<Record> waiting_ ABSL_GUARDED_BY(mu_);
  int64_t waiting_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t first_ ABSL_GUARDED_BY(mu_) = 0;  // the number of records that have left waiting_
  // The last request of each number, and of each session, that awaits its end: its place.
  absl::flat_hash_map<uint64_t, uint64_t> by_number_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<uint64_t, uint64_t> by_session_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  RecordingProgress progress_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace reprise::api
