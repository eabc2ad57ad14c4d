#include "engine/engine_inbox.h"

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace reprise::engine {
namespace {

TEST(InboxTest, RequestsComeOutInTheirOrderWithTheirIds) {
  Inbox inbox(10);
  std::vector<SequenceId> ids;
  for (int i = 0; i < 3; ++i) ids.push_back(*inbox.Submit({}));
  const Inbox::Mail mail = inbox.Take(absl::InfinitePast());
  ASSERT_EQ(mail.submissions.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(mail.submissions[i].id, ids[i]);
  EXPECT_NE(ids[0], ids[1]);
  EXPECT_TRUE(inbox.Take(absl::InfinitePast()).submissions.empty());
}

TEST(InboxTest, WhatWaitsInTheSchedulerCountsAgainstTheLimit) {
  Inbox inbox(2);
  ASSERT_TRUE(inbox.Submit({}).ok());
  ASSERT_TRUE(inbox.Submit({}).ok());
  EXPECT_EQ(inbox.Submit({}).status().code(), absl::StatusCode::kResourceExhausted);
  inbox.Take(absl::InfinitePast());
  EXPECT_EQ(inbox.Submit({}).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(inbox.num_waiting(), 2);
  inbox.SetTakenWaiting(1, absl::UnixEpoch());
  EXPECT_TRUE(inbox.Submit({}).ok());
  EXPECT_EQ(inbox.Submit({}).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(InboxTest, EverySampleTakesAPlace) {
  Inbox inbox(8);
  const auto submit = [&inbox](int32_t num_samples) {
    Submission submission;
    submission.request.num_samples = num_samples;
    return inbox.Submit(std::move(submission)).status();
  };
  EXPECT_TRUE(submit(5).ok());
  EXPECT_EQ(inbox.num_waiting(), 5);
  const absl::Status full = submit(4);
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(full.message(), "the queue is full: 5 of 8 places are taken, and the request needs 4");
  inbox.Take(absl::InfinitePast());
  EXPECT_EQ(submit(4).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(submit(3).ok());
  EXPECT_EQ(inbox.num_waiting(), 8);
  inbox.Take(absl::InfinitePast());
  inbox.SetTakenWaiting(0, absl::UnixEpoch());
  // No later time is better for so many.
  EXPECT_EQ(submit(9).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(submit(8).ok());
}

TEST(InboxTest, AFullQueueSaysHowFastItEmpties) {
  Inbox inbox(8);
  const auto fill = [&] {
    absl::Status status;
    while (status.ok()) status = inbox.Submit({}).status();
    inbox.Take(absl::InfinitePast());
    return std::string(status.message());
  };
  EXPECT_EQ(fill(), "the queue is full: 8 of 8 places are taken, and the request needs 1");
  const absl::Time start = absl::UnixEpoch();
  inbox.SetTakenWaiting(6, start);  // how long it was full before is not known
  EXPECT_EQ(fill(), "the queue is full: 8 of 8 places are taken, and the request needs 1");
  inbox.SetTakenWaiting(4, start + absl::Milliseconds(400));
  EXPECT_EQ(fill(),
            "the queue is full: 8 of 8 places are taken, and the request needs 1; one leaves in "
            "about 100ms");
  inbox.SetTakenWaiting(7, start + absl::Milliseconds(1000));
  EXPECT_EQ(fill(),
            "the queue is full: 8 of 8 places are taken, and the request needs 1; one leaves in "
            "about 225ms");
}

TEST(InboxTest, OnlyLivingRequestsAreCancelledAndOnlyOnce) {
  Inbox inbox(10);
  const SequenceId id = *inbox.Submit({});
  inbox.Cancel(id);
  inbox.Cancel(id);
  inbox.Cancel(id + 1);
  EXPECT_EQ(inbox.Take(absl::InfinitePast()).cancelled, std::vector<SequenceId>{id});
  inbox.Cancel(id);
  inbox.Forget(id);
  inbox.Cancel(id);
  EXPECT_TRUE(inbox.Take(absl::InfinitePast()).cancelled.empty());
}

TEST(InboxTest, TakeSleepsUntilSomethingHappens) {
  Inbox inbox(10);
  const absl::Time start = absl::Now();
  EXPECT_TRUE(inbox.Take(start + absl::Milliseconds(20)).submissions.empty());
  EXPECT_GE(absl::Now(), start + absl::Milliseconds(20));
  std::thread waker([&inbox] { inbox.Wake(); });
  inbox.Take(absl::InfiniteFuture());
  waker.join();
  std::thread submitter([&inbox] { EXPECT_TRUE(inbox.Submit({}).ok()); });
  EXPECT_EQ(inbox.Take(absl::InfiniteFuture()).submissions.size(), 1u);
  submitter.join();
}

TEST(InboxTest, AClosedInboxRefusesButGivesOutWhatItHas) {
  Inbox inbox(10);
  ASSERT_TRUE(inbox.Submit({}).ok());
  EXPECT_EQ(inbox.Take(absl::InfiniteFuture()).closed, absl::OkStatus());
  ASSERT_TRUE(inbox.Submit({}).ok());
  const absl::Status why = absl::UnavailableError("first");
  inbox.Close(why);
  inbox.Close(absl::UnavailableError("second"));
  EXPECT_EQ(inbox.Submit({}).status(), why);
  const Inbox::Mail mail = inbox.Take(absl::InfiniteFuture());
  EXPECT_EQ(mail.closed, why);
  EXPECT_EQ(mail.submissions.size(), 1u);
  EXPECT_EQ(inbox.Take(absl::InfiniteFuture()).closed, why);
}

}  // namespace
}  // namespace reprise::engine
