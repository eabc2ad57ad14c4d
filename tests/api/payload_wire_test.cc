#include "api/payload_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cachestore/base/hash.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {
namespace {

namespace v1 = ::reprise::v1;

std::string TextOf(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> pieces;
  EXPECT_TRUE(bytes.Dump(&pieces).ok());
  std::string text;
  for (const grpc::Slice& piece : pieces) {
    text.append(reinterpret_cast<const char*>(piece.begin()), piece.size());
  }
  return text;
}

// `text` in pieces of `length` bytes.
grpc::ByteBuffer InPieces(const std::string& text, size_t length) {
  std::vector<grpc::Slice> pieces;
  for (size_t at = 0; at < text.size(); at += length) pieces.emplace_back(text.substr(at, length));
  return grpc::ByteBuffer(pieces.data(), pieces.size());
}

std::string TextOf(const Payload& payload) {
  std::string text(payload.size(), 0);
  const uint64_t hash = payload.CopyTo(reinterpret_cast<std::byte*>(text.data()));
  EXPECT_EQ(hash, payload.Hash());
  EXPECT_EQ(hash, cachestore::HashBytes64(absl::MakeConstSpan(
                      reinterpret_cast<const std::byte*>(text.data()), text.size())));
  return text;
}

v1::PutRequest Request() {
  v1::PutRequest request;
  request.set_namespace_id(7);
  for (uint32_t token : {1u, 300u, 4000000000u}) request.add_token_ids(token);
  request.add_prefix_external_keys(std::string(32, 'p'));
  request.set_payload_xxh3(0x0123456789abcdef);
  request.set_external_key(std::string(32, 'k'));
  request.set_independent_keys(true);
  return request;
}

TEST(PayloadWireTest, WhatIsJoinedIsTheMessageToProtobuf) {
  const std::string payload(100000, 'x');
  const grpc::ByteBuffer bytes =
      JoinPayload(Request(), v1::PutRequest::kPayloadFieldNumber,
                  {grpc::Slice(payload.substr(0, 99000)), grpc::Slice(payload.substr(99000))});
  v1::PutRequest parsed;
  ASSERT_TRUE(parsed.ParseFromString(TextOf(bytes)));
  v1::PutRequest expected = Request();
  expected.set_payload(payload);
  EXPECT_EQ(parsed.SerializeAsString(), expected.SerializeAsString());
}

TEST(PayloadWireTest, ThePayloadIsSharedNotCopied) {
  std::string payload(100000, 'x');
  int ended = 0;
  {
    const grpc::ByteBuffer bytes = JoinPayload(
        Request(), v1::PutRequest::kPayloadFieldNumber,
        {grpc::Slice(
            payload.data(), payload.size(), [](void* n) { ++*static_cast<int*>(n); }, &ended)});
    std::vector<grpc::Slice> pieces;
    ASSERT_TRUE(bytes.Dump(&pieces).ok());
    ASSERT_EQ(pieces.size(), 2u);
    EXPECT_EQ(static_cast<const void*>(pieces[1].begin()), payload.data());
    // And on the way in.
    v1::PutRequest message;
    const auto split = SplitPayload(bytes, v1::PutRequest::kPayloadFieldNumber, &message);
    ASSERT_TRUE(split.ok());
    ASSERT_EQ(split->pieces().size(), 1u);
    EXPECT_EQ(static_cast<const void*>(split->pieces()[0].begin()), payload.data());
    EXPECT_EQ(ended, 0);
  }
  EXPECT_EQ(ended, 1) << "held until nobody has it any more, and no longer";
}

TEST(PayloadWireTest, WhatProtobufWritesIsSplitWhereverItsPiecesEnd) {
  v1::PutRequest request = Request();
  std::string payload;
  for (int i = 0; i < 1000; ++i) payload.push_back(static_cast<char>(i * 7));
  request.set_payload(payload);
  const std::string text = request.SerializeAsString();
  for (const size_t length : {size_t{1}, size_t{2}, size_t{7}, size_t{64}, text.size()}) {
    v1::PutRequest message;
    message.set_payload("of the call before");
    const auto split =
        SplitPayload(InPieces(text, length), v1::PutRequest::kPayloadFieldNumber, &message);
    ASSERT_TRUE(split.ok()) << split.status();
    EXPECT_EQ(TextOf(*split), payload) << length;
    for (const size_t begin : {size_t{0}, size_t{7}, size_t{500}, size_t{1000}}) {
      for (const size_t count : {size_t{0}, size_t{1}, size_t{64}, size_t{500}}) {
        if (begin + count > payload.size()) continue;
        EXPECT_EQ(TextOf(split->Part(begin, count)), payload.substr(begin, count)) << length;
      }
    }
    EXPECT_EQ(message.SerializeAsString(), Request().SerializeAsString());
  }
}

TEST(PayloadWireTest, AMessageWithoutAPayloadHasAnEmptyOneAndTheLastOfSeveralCounts) {
  v1::PutRequest message;
  const auto none = SplitPayload(InPieces(Request().SerializeAsString(), 5),
                                 v1::PutRequest::kPayloadFieldNumber, &message);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none->size(), 0u);
  v1::PutRequest first;
  first.set_payload("first");
  v1::PutRequest second;
  second.set_payload("second");
  const auto last =
      SplitPayload(InPieces(first.SerializeAsString() + second.SerializeAsString(), 3),
                   v1::PutRequest::kPayloadFieldNumber, &message);
  ASSERT_TRUE(last.ok());
  EXPECT_EQ(TextOf(*last), "second");
  const auto empty =
      SplitPayload(grpc::ByteBuffer(), v1::PutRequest::kPayloadFieldNumber, &message);
  EXPECT_FALSE(empty.ok()) << "not even an empty message";
}

TEST(PayloadWireTest, WhatIsCutOffOrMalformedIsRefused) {
  v1::PutRequest request = Request();
  request.set_payload(std::string(100, 'x'));
  const std::string text = request.SerializeAsString();
  v1::PutRequest message;
  int refused = 0;
  for (size_t length = 0; length < text.size(); ++length) {
    v1::PutRequest parsed;
    const std::string part = text.substr(0, length);
    if (part.empty()) continue;
    const auto split =
        SplitPayload(InPieces(part, 3), v1::PutRequest::kPayloadFieldNumber, &message);
    EXPECT_EQ(split.ok(), parsed.ParseFromString(part)) << length;
    refused += split.ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 100);
  for (const std::string& bad : {std::string(11, '\xff'), std::string("\x22\xff\xff\xff\xff\x0f"),
                                 std::string("\x23"), std::string("\x24"), std::string("\x26")}) {
    EXPECT_FALSE(
        SplitPayload(InPieces(bad, 2), v1::PutRequest::kPayloadFieldNumber, &message).ok());
  }
}

}  // namespace
}  // namespace reprise::api
