// CacheTarget: the server and namespace that a `cache` command works on, from its flags.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "api/cli/flag_set.h"
#include "api/client/cache_client.h"
#include "reprise/v1/reprise.pb.h"

namespace reprise::api {

// The flags --server and --timeout. Plain data.
struct ServerFlags {
  std::string server;
  double timeout_seconds = 600;

  absl::Duration timeout() const { return absl::Seconds(timeout_seconds); }
};
void AddServerFlags(FlagSet& flags, ServerFlags* values);

// The flags that name a namespace. Plain data.
struct NamespaceFlags {
  std::string json_file;  // empty: the served model's
  std::string tenant;     // replaces the served model's
  std::string salt;
};
void AddNamespaceFlags(FlagSet& flags, NamespaceFlags* values);

// The identity that the flags name: read from the file, or asked of the server. BLOCKS.
absl::StatusOr<v1::NamespaceIdentity> IdentityOf(const ServerFlags& server,
                                                 const NamespaceFlags& flags);

// The flags that name tokens: a file of ids, or text for the served model's tokenizer; one of them
// must be given. Plain data.
struct TokenFlags {
  std::string tokens_file;
  std::string text_file;
};
void AddTokenFlags(FlagSet& flags, TokenFlags* values);

// The tokens that the flags name. BLOCKS.
absl::StatusOr<std::vector<uint32_t>> TokensOf(const ServerFlags& server, const TokenFlags& flags);

// A namespace opened at a server.
struct OpenedNamespace {
  uint32_t id = 0;
  int64_t block_bytes = 0;
  int64_t block_tokens = 0;
};
// BLOCKS.
absl::StatusOr<OpenedNamespace> OpenNamespaceOf(CacheClient& client, const ServerFlags& server,
                                                const NamespaceFlags& flags);

}  // namespace reprise::api
