#include "api/record/request_recorder.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

using cachestore::KtrWriter;
using cachestore::RequestHints;
using cachestore::TraceFinish;

namespace {

// How often the queue is looked at, while nothing in it waits to be written: so long the file lags.
constexpr absl::Duration kInterval = absl::Seconds(1);
// Records that are written, and compressed together, between two looks.
constexpr size_t kBatchRecords = 4096;
// What a record takes besides its keys.
constexpr int64_t kRecordBytes = 256;

TraceFinish FinishOf(RequestHints::Ending ending) {
  switch (ending) {
    case RequestHints::Ending::kUnknown:
      return TraceFinish::kUnknown;
    case RequestHints::Ending::kToolUse:
      return TraceFinish::kToolUse;
    case RequestHints::Ending::kEndTurn:
      return TraceFinish::kEndTurn;
    case RequestHints::Ending::kOther:
      return TraceFinish::kOther;
  }
  return TraceFinish::kUnknown;
}

uint32_t TokenCount(int64_t tokens) {
  constexpr auto kMost = static_cast<int64_t>(std::numeric_limits<int32_t>::max());
  return static_cast<uint32_t>(std::clamp<int64_t>(tokens, 0, kMost));
}

}  // namespace

int64_t RequestRecorder::Record::bytes() const {
  return kRecordBytes + static_cast<int64_t>(keys.size() * sizeof(cachestore::BlockKey));
}

absl::StatusOr<std::shared_ptr<RequestRecorder>> RequestRecorder::Start(
    const std::string& path, const RecordingLimits& limits) {
  if (path.empty()) return absl::InvalidArgumentError("path is missing");
  // The tokens of a block are told by the first request.
  absl::StatusOr<std::unique_ptr<KtrWriter>> writer = KtrWriter::CreateNew(path, 1);
  if (absl::IsAlreadyExists(writer.status())) {
    return absl::AlreadyExistsError(
        absl::StrCat(writer.status().message(), "; move it away or name another file"));
  }
  if (!writer.ok()) return absl::InvalidArgumentError(writer.status().message());
  return std::shared_ptr<RequestRecorder>(new RequestRecorder(path, limits, *std::move(writer)));
}

RequestRecorder::RequestRecorder(std::string path, const RecordingLimits& limits,
                                 std::unique_ptr<KtrWriter> writer)
    : path_(std::move(path)), limits_(limits), writer_(std::move(writer)) {
  progress_.path = path_;
  thread_ = std::thread([this] { Run(); });
}

RequestRecorder::~RequestRecorder() { Stop(); }

void RequestRecorder::OnRequest(const cachestore::StoreRequest& request) {
  if (request.hints.use != RequestHints::Use::kRequest) return;
  Record record = {.taken = absl::Now(),
                   .time_ms = request.time_ms,
                   .keys = {request.keys.begin(), request.keys.end()},
                   .is_request = true,
                   .awaits_end = request.hints.request != 0 || request.hints.session != 0,
                   .number = request.hints.request,
                   .session = request.hints.session,
                   .input_tokens = request.prompt_tokens};
  absl::MutexLock lock(&mu_);
  if (block_tokens_ == 0) block_tokens_ = request.block_tokens;
  if (request.block_tokens != block_tokens_) {
    ++progress_.dropped_requests;
    return;
  }
  Push(std::move(record));
}

void RequestRecorder::OnEnd(const cachestore::StoreRequestEnd& end) {
  const RequestHints& hints = end.end.hints;
  Record left = {.taken = absl::Now(),
                 .time_ms = end.time_ms,
                 .keys = {end.keys.begin(), end.keys.end()},
                 .is_whole = end.first_block == 0,
                 .session = hints.session};
  absl::MutexLock lock(&mu_);
  if (end.block_tokens != block_tokens_) return;
  auto& places = hints.request != 0 ? by_number_ : by_session_;
  const auto place = places.find(hints.request != 0 ? hints.request : hints.session);
  if (place != places.end() && end.end.is_over()) {
    Record& request = waiting_[place->second - first_];
    request.awaits_end = false;
    request.output_tokens = end.end.output_tokens;
    request.finish = FinishOf(hints.ending);
    places.erase(place);
  }
  if (!left.keys.empty()) Push(std::move(left));
}

void RequestRecorder::Push(Record record) {
  const bool is_full = waiting_bytes_ + record.bytes() > limits_.waiting_bytes;
  if (is_full || stopping_ || !progress_.cause.empty()) {
    progress_.dropped_requests += record.is_request ? 1 : 0;
    return;
  }
  const uint64_t place = first_ + waiting_.size();
  if (record.awaits_end) {
    (record.number != 0 ? by_number_[record.number] : by_session_[record.session]) = place;
  }
  waiting_bytes_ += record.bytes();
  waiting_.push_back(std::move(record));
}

bool RequestRecorder::MayWriteFirst(absl::Time now) const {
  if (waiting_.empty()) return false;
  const Record& first = waiting_.front();
  return !first.awaits_end || stopping_ || now - first.taken >= limits_.patience ||
         waiting_bytes_ > limits_.waiting_bytes / 2;
}

RequestRecorder::Record RequestRecorder::TakeFirst() {
  Record first = std::move(waiting_.front());
  waiting_.pop_front();
  waiting_bytes_ -= first.bytes();
  if (const auto it = by_number_.find(first.number); it != by_number_.end()) {
    if (it->second == first_) by_number_.erase(it);
  }
  if (const auto it = by_session_.find(first.session); it != by_session_.end()) {
    if (it->second == first_) by_session_.erase(it);
  }
  ++first_;
  return first;
}

std::vector<RequestRecorder::Record> RequestRecorder::AwaitBatch() {
  if (!stopping_ && !MayWriteFirst(absl::Now())) changed_.WaitWithTimeout(&mu_, kInterval);
  std::vector<Record> batch;
  for (const absl::Time now = absl::Now(); MayWriteFirst(now) && batch.size() < kBatchRecords;) {
    batch.push_back(TakeFirst());
  }
  return batch;
}

void RequestRecorder::Run() {
  for (bool over = false; !over;) {
    std::vector<Record> batch;
    int64_t block_tokens = 0;
    {
      absl::MutexLock lock(&mu_);
      batch = AwaitBatch();
      block_tokens = block_tokens_;
      over = stopping_ && waiting_.empty();
    }
    if (batch.empty()) continue;
    const absl::Status status = Write(batch, block_tokens);
    absl::MutexLock lock(&mu_);
    progress_.requests = num_requests_;
    progress_.blocks = static_cast<int64_t>(writer_->num_blocks());
    progress_.bytes = writer_->file_bytes();
    if (status.ok()) continue;
    progress_.cause = std::string(status.message());
    over = true;
  }
  Close();
}

absl::Status RequestRecorder::Write(const std::vector<Record>& batch, int64_t block_tokens) {
  if (writer_->num_requests() == 0) {
    writer_->SetBlockTokens(static_cast<int32_t>(block_tokens));
  }
  for (const Record& record : batch) RETURN_IF_ERROR(Write(record));
  RETURN_IF_ERROR(writer_->Flush());
  return CheckLimits();
}

void RequestRecorder::Close() {
  const absl::Status closed = writer_->Close();
  absl::MutexLock lock(&mu_);
  progress_.bytes = writer_->file_bytes();
  if (!closed.ok() && progress_.cause.empty()) progress_.cause = std::string(closed.message());
  // What is not written by now never is.
  for (const Record& record : waiting_) progress_.dropped_requests += record.is_request ? 1 : 0;
  waiting_.clear();
  waiting_bytes_ = 0;
  by_number_.clear();
  by_session_.clear();
}

absl::Status RequestRecorder::Write(const Record& record) {
  // A block is known when one behind it is.
  size_t known = record.keys.size();
  auto last = numbers_.end();
  while (known > 0 && last == numbers_.end()) {
    last = numbers_.find(record.keys[known - 1]);
    if (last == numbers_.end()) --known;
  }
  const size_t num_new = record.keys.size() - known;
  const bool has_place = known > 0 || record.is_whole;
  if (!record.is_request && (num_new == 0 || !has_place)) return absl::OkStatus();
  if (writer_->num_requests() == 0) began_ms_ = record.time_ms;
  cachestore::KtrRequest request = {.time_ms = record.time_ms - began_ms_,
                                    .input_tokens = TokenCount(record.input_tokens),
                                    .output_tokens = TokenCount(record.output_tokens),
                                    .finish = record.finish,
                                    .anchor = known > 0 ? last->second : cachestore::kNoBlockNumber,
                                    .num_new = static_cast<uint32_t>(num_new)};
  if (record.session != 0) {
    request.session = sessions_.try_emplace(record.session, sessions_.size() + 1).first->second;
  }
  auto next = static_cast<cachestore::BlockNumber>(writer_->num_blocks());
  RETURN_IF_ERROR(writer_->Append(request));
  num_requests_ += record.is_request ? 1 : 0;
  for (size_t i = known; i < record.keys.size(); ++i) numbers_.emplace(record.keys[i], next++);
  return absl::OkStatus();
}

absl::Status RequestRecorder::CheckLimits() const {
  if (writer_->file_bytes() >= limits_.file_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the file is as large as it may be: ", limits_.file_bytes, " bytes"));
  }
  // Sessions are numbered as well.
  if (static_cast<int64_t>(numbers_.size() + sessions_.size()) >= limits_.blocks) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are as many blocks as may be numbered: ", limits_.blocks));
  }
  return absl::OkStatus();
}

RecordingProgress RequestRecorder::progress() const {
  absl::MutexLock lock(&mu_);
  return progress_;
}

void RequestRecorder::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
    changed_.SignalAll();
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace reprise::api
