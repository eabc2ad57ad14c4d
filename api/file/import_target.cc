#include "api/file/import_target.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace reprise::api {
namespace {

using cachestore::NamespaceIdentity;

// What two identities differ in, as "field of the file; field here".
std::string Difference(const NamespaceIdentity& file, const NamespaceIdentity& here) {
  const std::pair<const char*, std::string NamespaceIdentity::*> texts[] = {
      {"model_digest", &NamespaceIdentity::model_digest},
      {"tokenizer_digest", &NamespaceIdentity::tokenizer_digest},
      {"adapter_digest", &NamespaceIdentity::adapter_digest},
      {"kv_scales", &NamespaceIdentity::kv_scales},
      {"position_scheme", &NamespaceIdentity::position_scheme}};
  for (const auto& [name, field] : texts) {
    if (file.*field == here.*field) continue;
    return absl::StrCat("the file's ", name, " is \"", file.*field, "\", the served model's \"",
                        here.*field, "\"");
  }
  if (file.layout.block_tokens != here.layout.block_tokens) {
    return absl::StrCat("the file's blocks hold ", file.layout.block_tokens,
                        " tokens, the served model's ", here.layout.block_tokens);
  }
  return absl::StrCat("the file's blocks hold ", file.layout.BytesPerBlock(),
                      " bytes, the served model's ", here.layout.BytesPerBlock(),
                      "; or their layout or ranks differ");
}

}  // namespace

absl::StatusOr<std::string> EncodingOf(const cachestore::TieredStore& store,
                                       const cachestore::NamespaceHandle& ns) {
  for (cachestore::NamespaceUsage& usage : store.Usage()) {
    if (usage.name.id == ns.id) return std::move(usage.name.identity);
  }
  return absl::InternalError("the store does not know a namespace that it has opened");
}

absl::Status NeedKnownIdentity(const cachestore::TieredStore& store,
                               const NamespaceIdentity& served, const NamespaceIdentity& identity) {
  const auto equal = [&identity](NamespaceIdentity other) {
    other.tenant = identity.tenant;
    other.salt = identity.salt;
    return other == identity;
  };
  if (equal(served)) return absl::OkStatus();
  for (const cachestore::NamespaceUsage& usage : store.Usage()) {
    const auto known = NamespaceIdentity::Decode(usage.name.identity);
    if (known.ok() && equal(*known)) return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("the file's blocks are of another model: ", Difference(identity, served),
                   "; open a namespace with the file's identity first if that is what you want"));
}

std::string TenantToImport(const Principal& principal, const std::string& tenant) {
  if (tenant == kSharedTenant && principal.publisher) return tenant;
  if (principal.tenant.empty()) return tenant;
  return principal.tenant;
}

}  // namespace reprise::api
