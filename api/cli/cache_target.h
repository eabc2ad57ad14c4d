// CacheTarget: the server and namespace that a `cache` command works on, from its flags.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "api/cli/flag_set.h"
#include "api/cli/server_flags.h"
#include "api/client/cache_client.h"
#include "cachestore/block/block_content.h"
#include "reprise/v1/cache.pb.h"

namespace reprise::api {

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

// The flags that name blocks: a file of token ids, text for the served model's tokenizer, or
// external keys; at most one of them. Plain data.
struct PromptFlags {
  std::string tokens_file;
  std::string text_file;
  std::vector<std::string> external_keys;  // in hex
};
void AddPromptFlags(FlagSet& flags, PromptFlags* values);
// One of them must be given.
void RequirePromptFlags(FlagSet& flags);

// A namespace opened at a server.
struct OpenedNamespace {
  uint32_t id = 0;
  int64_t block_bytes = 0;
  int64_t block_tokens = 0;
};

// What the flags name.
struct Prompt {
  std::vector<uint32_t> tokens;
  std::vector<cachestore::ExternalKey> keys;  // when there are any, instead of tokens

  int64_t num_blocks(int64_t block_tokens) const;
  // `count` blocks from block `first` on. REQUIRES: there are so many.
  cachestore::BlockContent Blocks(int64_t first, int64_t count, int64_t block_tokens) const;
  // All of it, with the partial block at the end.
  cachestore::BlockContent All() const;
  // The same as what names blocks of a namespace in requests.
  v1::BlockPrefix PrefixIn(const OpenedNamespace& ns) const;
};
// BLOCKS. kInvalidArgument: none of the flags was given, or a key is not one.
absl::StatusOr<Prompt> PromptOf(const ServerFlags& server, const PromptFlags& flags);

// Opens the namespace that the flags name. BLOCKS.
absl::StatusOr<OpenedNamespace> OpenNamespaceOf(CacheClient& client, const ServerFlags& server,
                                                const NamespaceFlags& flags);

}  // namespace reprise::api
