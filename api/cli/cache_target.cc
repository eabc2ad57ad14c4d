#include "api/cli/cache_target.h"

#include "absl/strings/str_cat.h"
#include "api/cli/generate_flags.h"
#include "api/cli/text_file.h"
#include "api/client/inference_client.h"
#include "api/identity_codec.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

void AddServerFlags(FlagSet& flags, ServerFlags* values) {
  values->server = kDefaultServer;
  flags.Add("server", &values->server, "ADDR", "the server, as its --listen says");
  flags.Add("timeout", &values->timeout_seconds, "SECONDS", "how long the call may take");
  flags.AtLeast("timeout", 0);
}

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
  InferenceClient client(server.server);
  ASSIGN_OR_RETURN(v1::GetModelResponse model, client.GetModel(server.timeout()));
  if (!flags.tenant.empty()) model.mutable_identity()->set_tenant(flags.tenant);
  model.mutable_identity()->set_salt(flags.salt);
  return model.identity();
}

void AddTokenFlags(FlagSet& flags, TokenFlags* values) {
  flags.Add("tokens-file", &values->tokens_file, "FILE",
            "token ids: numbers with spaces, commas or brackets between them");
  flags.Add("text-file", &values->text_file, "FILE",
            "text instead, for the served model's tokenizer");
  flags.Exclude("tokens-file", "text-file");
  flags.RequireOneOf({"tokens-file", "text-file"});
}

absl::StatusOr<std::vector<uint32_t>> TokensOf(const ServerFlags& server, const TokenFlags& flags) {
  if (!flags.tokens_file.empty()) return ReadTokens(flags.tokens_file);
  v1::TokenizeRequest request;
  ASSIGN_OR_RETURN(*request.mutable_text(), ReadFile(flags.text_file));
  InferenceClient client(server.server);
  return client.Tokenize(request, server.timeout());
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
