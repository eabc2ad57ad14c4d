#include "cachestore/policy/request_book.h"

#include <gtest/gtest.h>

namespace reprise::cachestore {
namespace {

constexpr uint32_t kNamespace = 1;

RequestHints Told(uint64_t session, int32_t turn) { return {.session = session, .turn = turn}; }

// A request with one group.
RequestId Begin(RequestBook& book, RequestId turn_before, const RequestHints& hints) {
  const RequestId id = book.Begin(turn_before, {.namespace_id = kNamespace}, hints);
  book.AddGroup(id);
  return id;
}

TEST(RequestBookTest, ASessionGoesOnWithTheTurnAfterTheOneThatWasTold) {
  RequestBook book;
  const RequestId id = Begin(book, kNoRequest, Told(5, 7));
  EXPECT_EQ(book.TurnBefore(kNamespace, Told(5, 8)), id);
  for (const int32_t turn : {-1, 0, 1, 6, 7, 9}) {
    EXPECT_EQ(book.TurnBefore(kNamespace, Told(5, turn)), kNoRequest) << turn;
  }
  EXPECT_EQ(book.TurnBefore(kNamespace, Told(0, 8)), kNoRequest);
  EXPECT_EQ(book.TurnBefore(kNamespace, Told(4, 8)), kNoRequest);
  EXPECT_EQ(book.TurnBefore(kNamespace + 1, Told(5, 8)), kNoRequest);
}

TEST(RequestBookTest, ARepeatedTurnIsNoNewOne) {
  RequestBook book;
  const RequestId first = Begin(book, kNoRequest, Told(5, 1));
  const RequestId again = Begin(book, first, Told(5, 1));
  EXPECT_EQ(book.TurnBefore(kNamespace, Told(5, 2)), again);
  EXPECT_EQ(book.TurnBefore(kNamespace, Told(5, 3)), kNoRequest);
}

TEST(RequestBookTest, ASessionIsForgottenWithItsConversation) {
  RequestBook book;
  const RequestId first = Begin(book, kNoRequest, Told(5, 1));
  book.RemoveGroup(first);
  EXPECT_EQ(book.TurnBefore(kNamespace, Told(5, 2)), kNoRequest);
  // What comes next takes its place in memory.
  Begin(book, kNoRequest, Told(0, -1));
  EXPECT_EQ(book.TurnBefore(kNamespace, Told(5, 2)), kNoRequest);
}

TEST(RequestBookTest, ASessionThatMovedOnOutlivesTheConversationBefore) {
  RequestBook book;
  const RequestId first = Begin(book, kNoRequest, Told(5, 1));
  const RequestId other = Begin(book, kNoRequest, Told(5, 1));
  EXPECT_EQ(book.TurnBefore(kNamespace, Told(5, 2)), other);
  book.RemoveGroup(first);
  EXPECT_EQ(book.TurnBefore(kNamespace, Told(5, 2)), other);
}

TEST(RequestBookTest, AConversationIsOfTheSessionThatWasToldLast) {
  RequestBook book;
  const RequestId first = Begin(book, kNoRequest, Told(5, 1));
  const RequestId second = Begin(book, first, Told(6, 2));
  EXPECT_EQ(book.TurnBefore(kNamespace, Told(5, 2)), kNoRequest);
  EXPECT_EQ(book.TurnBefore(kNamespace, Told(6, 3)), second);
  book.RemoveGroup(first);
  book.RemoveGroup(second);
  EXPECT_EQ(book.TurnBefore(kNamespace, Told(6, 3)), kNoRequest);
}

}  // namespace
}  // namespace reprise::cachestore
