#include "bench/peers/redis_clients.h"

#include <hiredis/hiredis.h>

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, FreeReply>;

// The server's answer to a command of `words`.
absl::StatusOr<Reply> Call(redisContext* connection, absl::Span<const absl::string_view> words) {
  std::vector<const char*> data;
  std::vector<size_t> sizes;
  for (const absl::string_view word : words) {
    data.push_back(word.data());
    sizes.push_back(word.size());
  }
  Reply reply(static_cast<redisReply*>(
      redisCommandArgv(connection, static_cast<int>(words.size()), data.data(), sizes.data())));
  if (reply == nullptr) return absl::UnavailableError(absl::StrCat("redis: ", connection->errstr));
  if (reply->type == REDIS_REPLY_ERROR) {
    return absl::InternalError(absl::StrCat("redis: ", absl::string_view(reply->str, reply->len)));
  }
  return reply;
}

}  // namespace

void RedisClients::Close::operator()(redisContext* connection) const { redisFree(connection); }

absl::StatusOr<std::unique_ptr<RedisClients>> RedisClients::Connect(const std::string& path,
                                                                    int count) {
  std::unique_ptr<RedisClients> clients(new RedisClients);
  for (int i = 0; i < count; ++i) {
    Connection connection(redisConnectUnix(path.c_str()));
    if (connection == nullptr || connection->err != 0) {
      return absl::UnavailableError(absl::StrCat(
          "redis at ", path, ": ", connection == nullptr ? "no memory" : connection->errstr));
    }
    connection->reader->maxbuf = 0;  // keep the buffer for the next reply: the fastest setting
    clients->connections_.push_back(std::move(connection));
  }
  return clients;
}

RedisClients::~RedisClients() = default;

absl::Status RedisClients::Set(absl::string_view values, size_t value_bytes) {
  const auto count = static_cast<int64_t>(values.size() / value_bytes);
  return ForEach(count, [&](redisContext* connection, int64_t i) {
    return Call(connection, {"SET", absl::StrCat(i), values.substr(i * value_bytes, value_bytes)})
        .status();
  });
}

absl::Status RedisClients::Get(absl::string_view values, size_t value_bytes) {
  const auto count = static_cast<int64_t>(values.size() / value_bytes);
  return ForEach(count, [&](redisContext* connection, int64_t i) -> absl::Status {
    ASSIGN_OR_RETURN(const Reply reply, Call(connection, {"GET", absl::StrCat(i)}));
    if (reply->type == REDIS_REPLY_STRING && reply->len == value_bytes &&
        reply->str[0] == values[i * value_bytes]) {
      return absl::OkStatus();
    }
    return absl::DataLossError(absl::StrCat("redis: value ", i, " is not what was set"));
  });
}

absl::Status RedisClients::ForEach(int64_t count,
                                   absl::FunctionRef<absl::Status(redisContext*, int64_t)> work) {
  std::atomic<int64_t> next = 0;
  std::vector<absl::Status> statuses(connections_.size());
  std::vector<std::thread> threads;
  for (size_t t = 0; t < connections_.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int64_t i = next++; i < count && statuses[t].ok(); i = next++) {
        statuses[t] = work(connections_[t].get(), i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace reprise::bench
