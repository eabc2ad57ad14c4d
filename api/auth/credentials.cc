#include "api/auth/credentials.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "api/auth/private_file.h"
#include "api/cli/byte_size.h"
#include "api/limits.h"
#include "cachestore/base/status_macros.h"

// Parse errors come as values, as all errors do here.
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
// Some of what the parser asserts of a file does not hold, and it tells the right error after it:
// neither stop there nor, as it does with NDEBUG, have the compiler believe it.
#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expression) static_assert(true)
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

namespace reprise::api {
namespace {

absl::string_view TextOf(const toml::key& key) { return {key.data(), key.length()}; }

std::string Position(const toml::source_region& region) {
  return absl::StrCat("line ", region.begin.line, ", column ", region.begin.column);
}

absl::Status Wrong(const toml::node& at, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(Position(at.source()), ": ", what));
}

// An unknown key may be a secret that somebody put on the wrong side; only what looks like a key is
// repeated.
absl::Status UnknownKey(const toml::key& key) {
  const absl::string_view name = TextOf(key);
  return absl::InvalidArgumentError(
      absl::StrCat(Position(key.source()), ": unknown key",
                   name.size() <= 20 && IsCredentialName(name) ? absl::StrCat(" ", name) : ""));
}

absl::StatusOr<std::string> Text(const toml::key& key, const toml::node& node) {
  if (!node.is_string()) return Wrong(node, absl::StrCat(TextOf(key), " must be a text in quotes"));
  return **node.as_string();
}

absl::StatusOr<std::string> Name(const toml::key& key, const toml::node& node) {
  ASSIGN_OR_RETURN(std::string name, Text(key, node));
  if (IsCredentialName(name)) return name;
  return Wrong(node, absl::StrCat(TextOf(key), " must be 1 to 64 letters, digits and . _ - @"));
}

absl::StatusOr<int64_t> Amount(const toml::key& key, const toml::node& node, bool is_bytes) {
  int64_t amount = 0;
  if (node.is_integer()) {
    amount = **node.as_integer();
  } else if (is_bytes && node.is_string()) {
    ASSIGN_OR_RETURN(amount, ParseByteSize(**node.as_string()));
  }
  if (amount > 0) return amount;
  return Wrong(node, absl::StrCat(TextOf(key), " must be a number above 0",
                                  is_bytes ? " or a size such as \"4GiB\"" : ""));
}

}  // namespace

bool IsCredentialName(absl::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-' || c == '@';
  });
}

cachestore::QuotasByTenant QuotasOf(const LimitsByTenant& limits) {
  cachestore::QuotasByTenant quotas;
  for (const auto& [tenant, its] : limits) {
    if (!(its.quota == cachestore::TenantQuota())) quotas[tenant] = its.quota;
  }
  return quotas;
}

// Fills one Credentials from the tables of one file.
class Credentials::Reader {
 public:
  absl::Status Read(const toml::table& file) {
    for (const auto& [key, node] : file) {
      if (TextOf(key) == "tenants" && node.is_table()) {
        for (const auto& [tenant, limits] : *node.as_table()) {
          RETURN_IF_ERROR(ReadTenant(tenant, limits));
        }
      } else if (TextOf(key) == "credentials" && node.is_array_of_tables()) {
        for (const toml::node& entry : *node.as_array()) {
          RETURN_IF_ERROR(ReadCredential(*entry.as_table()));
        }
      } else {
        return UnknownKey(key);
      }
    }
    return absl::OkStatus();
  }

  Credentials Take() { return std::move(made_); }

 private:
  absl::Status ReadTenant(const toml::key& tenant, const toml::node& node) {
    if (!IsCredentialName(TextOf(tenant))) return Wrong(node, "this cannot be a tenant's name");
    if (!node.is_table()) return Wrong(node, "a tenant's limits are a table");
    TenantLimits limits;
    for (const auto& [key, value] : *node.as_table()) {
      if (TextOf(key) == "calls-per-second") {
        ASSIGN_OR_RETURN(limits.calls_per_second, Amount(key, value, /*is_bytes=*/false));
      } else if (TextOf(key) == "bytes-per-second") {
        ASSIGN_OR_RETURN(limits.bytes_per_second, Amount(key, value, /*is_bytes=*/true));
      } else if (TextOf(key) == "ram-bytes") {
        ASSIGN_OR_RETURN(limits.quota.ram_bytes, Amount(key, value, /*is_bytes=*/true));
      } else if (TextOf(key) == "disk-bytes") {
        ASSIGN_OR_RETURN(limits.quota.disk_bytes, Amount(key, value, /*is_bytes=*/true));
      } else {
        return UnknownKey(key);
      }
    }
    num_quotas_ += !(limits.quota == cachestore::TenantQuota());
    if (num_quotas_ > kMaxTenantQuotas) {
      return Wrong(node, absl::StrCat("more than ", kMaxTenantQuotas,
                                      " tenants have ram-bytes or disk-bytes"));
    }
    made_.limits_[std::string(TextOf(tenant))] = limits;
    return absl::OkStatus();
  }

  absl::Status ReadRoles(const toml::node& node, Principal* principal) {
    if (!node.is_array()) return Wrong(node, "roles must be a list");
    for (const toml::node& role : *node.as_array()) {
      const std::string name = role.is_string() ? **role.as_string() : "";
      if (name != "admin" && name != "publisher") {
        return Wrong(role, "a role is \"admin\" or \"publisher\"");
      }
      (name == "admin" ? principal->admin : principal->publisher) = true;
    }
    return absl::OkStatus();
  }

  absl::Status ReadCredential(const toml::table& entry) {
    if (static_cast<int64_t>(made_.size()) >= kMaxCredentials) {
      return Wrong(entry, absl::StrCat("there are more than ", kMaxCredentials, " credentials"));
    }
    Principal principal;
    std::optional<TokenDigest> token;
    std::string certificate;
    for (const auto& [key, value] : entry) {
      if (TextOf(key) == "name") {
        ASSIGN_OR_RETURN(principal.name, Name(key, value));
      } else if (TextOf(key) == "tenant") {
        ASSIGN_OR_RETURN(principal.tenant, Name(key, value));
      } else if (TextOf(key) == "roles") {
        RETURN_IF_ERROR(ReadRoles(value, &principal));
      } else if (TextOf(key) == "token-sha256") {
        ASSIGN_OR_RETURN(const std::string hex, Text(key, value));
        token = TokenDigestFromHex(hex);
        if (!token) {
          return Wrong(value,
                       "token-sha256 must be 64 digits of 0-9a-f; `reprise credential` "
                       "prints them");
        }
      } else if (TextOf(key) == "certificate") {
        ASSIGN_OR_RETURN(certificate, Text(key, value));
      } else {
        return UnknownKey(key);
      }
    }
    return Add(entry, std::move(principal), token, certificate);
  }

  absl::Status Add(const toml::table& entry, Principal principal,
                   const std::optional<TokenDigest>& token, const std::string& certificate) {
    if (principal.name.empty()) return Wrong(entry, "the credential has no name");
    const auto wrong = [&](absl::string_view what) {
      return Wrong(entry, absl::StrCat("credential ", principal.name, " ", what));
    };
    if (principal.tenant.empty() && !principal.admin) {
      return wrong("has no tenant, which only the role admin may leave out");
    }
    if (token.has_value() == !certificate.empty()) {
      return wrong("must have either token-sha256 or certificate");
    }
    if (!names_.insert(principal.name).second) return wrong("comes twice");
    const bool is_new = token ? made_.by_token_.emplace(*token, principal).second
                              : made_.by_certificate_.emplace(certificate, principal).second;
    return is_new ? absl::OkStatus() : wrong("has what another credential has as well");
  }

  Credentials made_;
  std::set<std::string> names_;
  int64_t num_quotas_ = 0;
};

absl::StatusOr<Credentials> Credentials::Parse(absl::string_view text) {
  if (static_cast<int64_t>(text.size()) > kMaxCredentialsBytes) {
    return absl::InvalidArgumentError(absl::StrCat("it has ", text.size(), " bytes; at most ",
                                                   kMaxCredentialsBytes, " are read"));
  }
  const toml::parse_result parsed = toml::parse(std::string_view(text.data(), text.size()));
  if (!parsed) {
    // The parser's own words would repeat the text.
    return absl::InvalidArgumentError(
        absl::StrCat(Position(parsed.error().source()), ": this is not TOML"));
  }
  Reader reader;
  RETURN_IF_ERROR(reader.Read(parsed.table()));
  return reader.Take();
}

absl::StatusOr<Credentials> Credentials::ReadFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadPrivateFile(path, kMaxCredentialsBytes));
  absl::StatusOr<Credentials> credentials = Parse(text);
  if (credentials.ok()) return credentials;
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", credentials.status().message()));
}

const Principal* Credentials::FindToken(const TokenDigest& digest) const {
  const auto it = by_token_.find(digest);
  return it == by_token_.end() ? nullptr : &it->second;
}

const Principal* Credentials::FindCertificate(absl::Span<const std::string> names) const {
  for (const std::string& name : names) {
    if (const auto it = by_certificate_.find(name); it != by_certificate_.end()) return &it->second;
  }
  return nullptr;
}

}  // namespace reprise::api
