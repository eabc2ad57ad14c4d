#include "api/cli/cache_target.h"

#include "absl/strings/str_cat.h"
#include "api/cli/text_file.h"
#include "api/client/inference_client.h"
#include "api/identity_codec.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

void AddNamespaceFlags(FlagSet& flags, NamespaceFlags* values) {
  flags.Add(
      "namespace-json", &values->json_file, "FILE",
      "identity of the namespace, as `cache identity` prints it; without it, the served model's");
  flags.Add("tenant", &values->tenant, "NAME", "tenant of the served model's namespace");
  flags.Add("salt", &values->salt, "TEXT", "salt of the served model's namespace");
  flags.Exclude("namespace-json", "tenant");
  flags.Exclude("namespace-json", "salt");
}

absl::StatusOr<v1::NamespaceIdentity> IdentityOf(const ServerFlags& server,
                                                 const NamespaceFlags& flags) {
  if (!flags.json_file.empty()) {
    ASSIGN_OR_RETURN(const std::string json, ReadFile(flags.json_file));
    absl::StatusOr<v1::NamespaceIdentity> identity = IdentityFromJson(json);
    if (identity.ok()) return identity;
    return absl::InvalidArgumentError(
        absl::StrCat(flags.json_file, ": ", identity.status().message()));
  }
  ASSIGN_OR_RETURN(const auto client, Connect<InferenceClient>(server));
  ASSIGN_OR_RETURN(v1::GetModelResponse model, client->GetModel(server.timeout()));
  if (!flags.tenant.empty()) model.mutable_identity()->set_tenant(flags.tenant);
  model.mutable_identity()->set_salt(flags.salt);
  return model.identity();
}

void AddPromptFlags(FlagSet& flags, PromptFlags* values) {
  flags.Add("tokens-file", &values->tokens_file, "FILE",
            "token ids: numbers with spaces, commas or brackets between them");
  flags.Add("text-file", &values->text_file, "FILE",
            "text instead, for the served model's tokenizer");
  flags.Add("external-keys", &values->external_keys, "HEX...",
            "one key of 64 hex digits per block, in a namespace of external keys");
  flags.Exclude("tokens-file", "text-file");
  flags.Exclude("external-keys", "tokens-file");
  flags.Exclude("external-keys", "text-file");
}

void RequirePromptFlags(FlagSet& flags) {
  flags.RequireOneOf({"tokens-file", "text-file", "external-keys"});
}

int64_t Prompt::num_blocks(int64_t block_tokens) const {
  if (!keys.empty()) return static_cast<int64_t>(keys.size());
  return static_cast<int64_t>(tokens.size()) / block_tokens;
}

cachestore::BlockContent Prompt::Blocks(int64_t first, int64_t count, int64_t block_tokens) const {
  const auto part = [](const auto& all, int64_t begin, int64_t size) {
    return absl::MakeConstSpan(all).subspan(static_cast<size_t>(begin), static_cast<size_t>(size));
  };
  if (!keys.empty()) return part(keys, first, count);
  return part(tokens, first * block_tokens, count * block_tokens);
}

cachestore::BlockContent Prompt::All() const {
  if (!keys.empty()) return keys;
  return tokens;
}

v1::BlockPrefix Prompt::PrefixIn(const OpenedNamespace& ns) const {
  v1::BlockPrefix prefix;
  prefix.set_namespace_id(ns.id);
  prefix.mutable_token_ids()->Assign(tokens.begin(), tokens.end());
  for (const cachestore::ExternalKey& key : keys) prefix.add_external_keys(key.ToBytes());
  return prefix;
}

absl::StatusOr<Prompt> PromptOf(const ServerFlags& server, const PromptFlags& flags) {
  Prompt prompt;
  for (const std::string& hex : flags.external_keys) {
    ASSIGN_OR_RETURN(const cachestore::ExternalKey key, cachestore::ExternalKey::FromHex(hex));
    prompt.keys.push_back(key);
  }
  if (!prompt.keys.empty()) return prompt;
  if (!flags.tokens_file.empty()) {
    ASSIGN_OR_RETURN(prompt.tokens, ReadTokens(flags.tokens_file));
    return prompt;
  }
  if (flags.text_file.empty()) {
    return absl::InvalidArgumentError("--tokens-file, --text-file or --external-keys is needed");
  }
  v1::TokenizeRequest request;
  ASSIGN_OR_RETURN(*request.mutable_text(), ReadFile(flags.text_file));
  ASSIGN_OR_RETURN(const auto client, Connect<InferenceClient>(server));
  ASSIGN_OR_RETURN(prompt.tokens, client->Tokenize(request, server.timeout()));
  return prompt;
}

absl::StatusOr<OpenedNamespace> OpenNamespaceOf(CacheClient& client, const ServerFlags& server,
                                                const NamespaceFlags& flags) {
  ASSIGN_OR_RETURN(const v1::NamespaceIdentity identity, IdentityOf(server, flags));
  ASSIGN_OR_RETURN(const v1::OpenNamespaceResponse opened,
                   client.OpenNamespace(identity, server.timeout()));
  return OpenedNamespace{opened.namespace_id(), opened.block_bytes(),
                         identity.layout().block_tokens()};
}

}  // namespace reprise::api
