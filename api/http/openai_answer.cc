#include "api/http/openai_answer.h"

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "api/http/http_limits.h"
#include "api/http/id_headers.h"
#include "api/http/openai_error.h"

namespace reprise::api {
namespace {

int64_t NumCharacters(absl::string_view text) {
  int64_t count = 0;
  for (const char c : text) count += (c & 0xc0) != 0x80 ? 1 : 0;
  return count;
}

}  // namespace

// The engine's share of the answer, for one prompt.
class OpenAiAnswer::Sink final : public engine::TokenSink {
 public:
  Sink(std::shared_ptr<OpenAiAnswer> answer, size_t prompt)
      : answer_(std::move(answer)), prompt_(prompt) {}

  void OnToken(const engine::OutputToken& token) override { answer_->OnToken(prompt_, token); }
  void OnFinish(const engine::GenerateResult& result) override {
    answer_->OnFinish(prompt_, result);
  }
  void OnError(const absl::Status& status) override { answer_->Fail(status); }

 private:
  const std::shared_ptr<OpenAiAnswer> answer_;
  const size_t prompt_;
};

OpenAiAnswer::OpenAiAnswer(engine::Engine* engine, const OpenAiCall& call,
                           const OpenAiShape::Labels& labels, const RequestIds& ids,
                           std::shared_ptr<HttpReply> reply)
    : engine_(engine),
      shape_(labels),
      ids_(ids),
      num_samples_(static_cast<size_t>(call.num_samples())),
      stream_(call.stream),
      reply_(std::move(reply)),
      choices_(call.prompts.size() * num_samples_,
               Choice(OpenAiLogprobs(call.endpoint, &engine->tokenizer()))),
      prompts_left_(call.prompts.size()) {}

void OpenAiAnswer::Start(engine::Engine* engine, const OpenAiCall& call,
                         const OpenAiShape::Labels& labels, const RequestIds& ids,
                         std::vector<engine::GenerateRequest> requests,
                         std::shared_ptr<HttpReply> reply) {
  const std::shared_ptr<OpenAiAnswer> answer(new OpenAiAnswer(engine, call, labels, ids, reply));
  answer->Submit(std::move(requests));
  // Weak: the reply must not keep alive what keeps it.
  reply->NotifyGone([weak = std::weak_ptr<OpenAiAnswer>(answer)] {
    if (const std::shared_ptr<OpenAiAnswer> alive = weak.lock()) alive->OnGone();
  });
}

void OpenAiAnswer::Submit(std::vector<engine::GenerateRequest> requests) {
  for (size_t i = 0; i < requests.size(); ++i) {
    const absl::StatusOr<engine::RequestId> id =
        engine_->Submit(std::move(requests[i]), std::make_shared<Sink>(shared_from_this(), i));
    if (!id.ok()) return Fail(id.status());
    {
      absl::MutexLock lock(&mu_);
      if (reply_ != nullptr || prompts_left_ == 0) {
        requests_.push_back(*id);
        continue;
      }
    }
    // An earlier one has failed meanwhile.
    engine_->Cancel(*id);
    return;
  }
}

void OpenAiAnswer::OnToken(size_t prompt, const engine::OutputToken& token) {
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    if (reply_ == nullptr) return;
    const size_t index = prompt * num_samples_ + static_cast<size_t>(token.sample);
    if (stream_) {
      StreamLocked(index, token);
    } else {
      status = CollectLocked(index, token);
    }
  }
  if (!status.ok()) Fail(status);
}

void OpenAiAnswer::BeginLocked() {
  if (begun_) return;
  begun_ = true;
  HttpResponse head;
  head.content_type = "text/event-stream; charset=utf-8";
  head.headers.emplace_back("Cache-Control", "no-cache");
  head.headers.emplace_back("X-Accel-Buffering", "no");  // nginx would hold tokens back
  reply_->Begin(WithIds(std::move(head)));
}

void OpenAiAnswer::StreamLocked(size_t index, const engine::OutputToken& token) {
  BeginLocked();
  Choice& choice = choices_[index];
  std::string events;
  if (!choice.begun) events = shape_.FirstEvent(index);
  choice.begun = true;
  std::string logprobs;
  if (token.logprobs != nullptr) {
    choice.logprobs.Add(token, choice.characters);
    logprobs = choice.logprobs.Take();
  }
  choice.characters += NumCharacters(token.text);
  if (!token.text.empty() || !logprobs.empty()) {
    absl::StrAppend(&events, shape_.TextEvent(index, token.text, logprobs));
  }
  if (!events.empty()) reply_->Write(events);
}

absl::Status OpenAiAnswer::CollectLocked(size_t index, const engine::OutputToken& token) {
  Choice& choice = choices_[index];
  if (token.logprobs != nullptr) {
    const size_t before = choice.logprobs.bytes();
    choice.logprobs.Add(token, choice.characters);
    whole_bytes_ += choice.logprobs.bytes() - before;
  }
  choice.characters += NumCharacters(token.text);
  choice.whole.text.append(token.text.data(), token.text.size());
  whole_bytes_ += token.text.size();
  if (whole_bytes_ <= kMaxHttpAnswerBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the answer is larger than ", kMaxHttpAnswerBytes,
                   " bytes; let it be streamed, or ask for fewer tokens or log probabilities"));
}

void OpenAiAnswer::OnFinish(size_t prompt, const engine::GenerateResult& result) {
  if (result.finish_reason == engine::FinishReason::kCancelled) {
    return Fail(absl::UnavailableError("the request was cancelled: the server is shutting down"));
  }
  std::shared_ptr<HttpReply> reply;  // let go of behind the lock
  absl::MutexLock lock(&mu_);
  if (reply_ == nullptr) return;
  usage_.prompt_tokens += result.prompt_tokens;
  usage_.cached_gpu_tokens += result.cached_gpu_tokens;
  usage_.cached_ram_tokens += result.cached_ram_tokens;
  usage_.cached_disk_tokens += result.cached_disk_tokens;
  usage_.new_tokens += result.new_tokens;
  for (size_t sample = 0; sample < num_samples_; ++sample) {
    const size_t index = prompt * num_samples_ + sample;
    Choice& choice = choices_[index];
    choice.whole.finish_reason = OpenAiShape::FinishReason(
        sample < result.samples.size() ? result.samples[sample].finish_reason
                                       : result.finish_reason);
    if (!stream_) continue;
    BeginLocked();
    reply_->Write(absl::StrCat(choice.begun ? "" : shape_.FirstEvent(index),
                               shape_.FinishEvent(index, choice.whole.finish_reason)));
  }
  if (--prompts_left_ > 0) return;
  reply_->NoteHit(usage_.cached_gpu_tokens + usage_.cached_ram_tokens + usage_.cached_disk_tokens);
  if (stream_) {
    reply_->Write(absl::StrCat(shape_.UsageEvent(usage_), OpenAiShape::DoneEvent()));
    reply_->End();
  } else {
    std::vector<OpenAiChoice> choices;
    for (Choice& choice : choices_) {
      if (choice.logprobs.bytes() > 0) choice.whole.logprobs = choice.logprobs.Take();
      choices.push_back(std::move(choice.whole));
    }
    HttpResponse response;
    response.body = shape_.Whole(choices, usage_);
    reply_->Send(WithIds(std::move(response)));
  }
  reply = LetGoLocked();
}

void OpenAiAnswer::Fail(const absl::Status& status) {
  std::shared_ptr<HttpReply> reply;
  std::vector<engine::RequestId> to_cancel;
  {
    absl::MutexLock lock(&mu_);
    if (reply_ == nullptr) return;
    if (begun_) {
      reply_->NoteFailure(status);
      reply_->Write(OpenAiShape::ErrorEvent(OpenAiErrorJson(status)));
      reply_->End();
    } else {
      reply_->Send(WithIds(OpenAiErrorResponse(status)));
    }
    reply = LetGoLocked();
    to_cancel = requests_;
  }
  for (const engine::RequestId id : to_cancel) engine_->Cancel(id);
}

void OpenAiAnswer::OnGone() {
  std::shared_ptr<HttpReply> reply;
  std::vector<engine::RequestId> to_cancel;
  {
    absl::MutexLock lock(&mu_);
    reply = LetGoLocked();
    to_cancel = requests_;
  }
  for (const engine::RequestId id : to_cancel) engine_->Cancel(id);
}

std::shared_ptr<HttpReply> OpenAiAnswer::LetGoLocked() { return std::move(reply_); }

HttpResponse OpenAiAnswer::WithIds(HttpResponse response) const {
  Echo(ids_, &response);
  return response;
}

}  // namespace reprise::api
