// Limits of one call, checked before anything is allocated for it.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace reprise::api {

// Largest message that is received: the largest block (16 MiB), the tokens of a full-length prefix,
// and room for the rest.
inline constexpr int kMaxMessageBytes = 24 << 20;
// Most bytes of several blocks in one message: so small blocks cost as little a byte as large ones.
inline constexpr int64_t kMaxSharedMessageBytes = int64_t{2} << 20;
// Most token ids in one request.
inline constexpr int64_t kMaxRequestTokens = int64_t{1} << 20;
// Most text that is tokenized for one request.
inline constexpr int64_t kMaxTextBytes = int64_t{4} << 20;
// Most messages of one conversation, and the longest name of a role in it.
inline constexpr int kMaxChatMessages = 1 << 16;
inline constexpr int64_t kMaxRoleBytes = 64;
// Text of a request that is repeated in an error.
inline constexpr int64_t kMaxEchoBytes = 64;
// Most stop token ids of one request: each is compared with every token.
inline constexpr int kMaxStopTokens = 1024;
// Most namespaces that clients may open in one server process.
inline constexpr int64_t kMaxOpenNamespaces = 4096;
// Of them, those that the credentials of one tenant may open.
inline constexpr int64_t kMaxTenantNamespaces = 512;
// Calls of the Cache service at once; each has a thread. More are answered RESOURCE_EXHAUSTED.
inline constexpr int kMaxCacheCalls = 64;
// Of them, those of one tenant: its calls that do not end leave threads to others.
inline constexpr int kMaxTenantCalls = kMaxCacheCalls / 2;
// So many more of its calls may be answered while their clients have not taken the answer.
inline constexpr int kMaxTenantAnswers = kMaxTenantCalls / 2;
// What never waits is answered by the thread that has read it, unless it is about more than so many
// token ids or external keys: such calls have these threads, and count as calls that hold one.
inline constexpr int kMaxQuickTokens = 1 << 16;
inline constexpr int kMaxQuickKeys = 1 << 12;
inline constexpr int kLongCallThreads = 2;
// Calls of one connection at once; a client's library queues what is more.
inline constexpr int kMaxStreamsPerConnection = 1024;
// A call that has a thread ends when its client has not taken the last of the answer for so long,
inline constexpr absl::Duration kMaxSilence = absl::Seconds(30);
// or when no message that it sends, or takes, has come to its end for so long and the time of the
// largest one at this rate.
inline constexpr int64_t kMinBytesPerSecond = 128 << 10;
inline constexpr absl::Duration kMaxMessageTime =
    absl::Seconds(30 + kMaxMessageBytes / kMinBytesPerSecond);
// What gRPC may hold for messages that are under way: all Cache calls with the largest message, and
// as much again. It slows clients down, and drops calls, before it takes more.
inline constexpr int64_t kMaxTransportBytes = int64_t{2} * kMaxCacheCalls * kMaxMessageBytes;
// HTTP/2 as it carries blocks best: frames of 1 MiB, and this much of a stream on its way before
// the other side has read it. (The default is 16 KiB, and what a probe of the connection
// estimates.)
inline constexpr int kMaxFrameBytes = 1 << 20;
inline constexpr int kStreamWindowBytes = 8 << 20;
// A connection that is silent for this long is asked whether its client still lives, and closed
// when no answer comes, so that pins and requests of a lost machine end.
inline constexpr absl::Duration kKeepaliveTime = absl::Minutes(1);
inline constexpr absl::Duration kKeepaliveTimeout = absl::Seconds(20);
// Clients may ask the same as often as this.
inline constexpr absl::Duration kMinClientPingInterval = absl::Seconds(10);
// How long a Put or Get may take when the client sets no earlier deadline. It bounds how long a
// client that has stopped reading or writing can hold pins.
inline constexpr absl::Duration kMaxStreamTime = absl::Minutes(10);
// Most blocks that one Get holds in RAM at a time, and all of them together: read from the store
// and not yet by the client. Of a small RAM a quarter, and half, is the limit. A Get beyond waits.
inline constexpr int64_t kMaxPinnedBytes = int64_t{16} << 20;
inline constexpr int64_t kMaxSendBytes = int64_t{512} << 20;
// A Get whose client takes nothing for this long is cancelled; so soon when others wait for what it
// holds.
inline constexpr absl::Duration kMaxReadStall = absl::Minutes(1);
inline constexpr absl::Duration kMaxReadStallIfShort = absl::Seconds(2);
// Behind the end of a shutdown's grace, what is left of calls is cancelled.
inline constexpr absl::Duration kMaxCallEnd = absl::Seconds(1);
// How long gRPC may take to end its connections, once it is shut down.
inline constexpr absl::Duration kMaxSendEnd = absl::Seconds(10);
// Get calls at once. They have no threads. More are answered RESOURCE_EXHAUSTED.
inline constexpr int kMaxGetCalls = 2048;
// Of them, those of one tenant.
inline constexpr int kMaxTenantGetCalls = kMaxGetCalls / 2;
// How long Put waits for RAM to become free for one block.
inline constexpr absl::Duration kMaxRoomWait = absl::Seconds(2);
// Sessions of all clients at once, and of those that call by one name. A session costs a stream.
inline constexpr int64_t kMaxSessions = 4096;
inline constexpr int64_t kMaxSessionsPerPrincipal = 256;
// Leases and grants of one session.
inline constexpr int64_t kMaxHoldingsPerSession = 4096;
// What the leases and grants of one session may hold of RAM, those of one tenant, and those of all:
// the rest is for those who put and load.
inline constexpr double kMaxSessionShare = 0.25;
inline constexpr double kMaxTenantShare = 0.25;
inline constexpr double kMaxLeasedShare = 0.5;
// How long a lease lives that is not renewed, so that what a client whose machine is gone holds is
// free within 5 s; and how long it may live in a session that asks for more.
inline constexpr absl::Duration kLeaseTtl = absl::Seconds(4);
inline constexpr absl::Duration kMaxLeaseTtl = absl::Seconds(30);
// Events that wait for a client that does not read them; one more ends its session.
inline constexpr int64_t kMaxUnsentEvents = 2 * kMaxHoldingsPerSession;
// Prefetches under way at once, what they may hold of RAM until they have ended, and how long one
// may take when it names no deadline.
inline constexpr int64_t kMaxPrefetches = 256;
inline constexpr double kMaxPrefetchShare = 0.25;
inline constexpr absl::Duration kPrefetchTime = absl::Minutes(1);
// Chunks that wait for a client that reads more slowly than tokens come. The connection's flow
// control window holds some 4,000 more before they come to wait here.
inline constexpr int64_t kMaxUnsentChunks = 1024;

// Most credentials of one server, and the largest file of them, or of a key.
inline constexpr int64_t kMaxCredentials = 10'000;
// Most tenants with a quota of bytes: where all of RAM is used up, a look for what goes next looks
// at each.
inline constexpr int64_t kMaxTenantQuotas = 1024;
inline constexpr int64_t kMaxCredentialsBytes = int64_t{4} << 20;

}  // namespace reprise::api
