#include "api/auth/guard.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

absl::Status NotKnown(absl::string_view what) { return absl::UnauthenticatedError(what); }

// What of a tenant is different in the two, for people.
std::vector<std::string> Differences(const LimitsByTenant& before, const LimitsByTenant& after) {
  std::vector<std::string> changed;
  for (const auto& [tenant, limits] : after) {
    const auto it = before.find(tenant);
    if (it == before.end()) {
      changed.push_back(absl::StrCat("tenant ", tenant, " has limits"));
    } else if (!(it->second == limits)) {
      changed.push_back(absl::StrCat("tenant ", tenant, " has other limits"));
    }
  }
  for (const auto& [tenant, limits] : before) {
    if (after.count(tenant) == 0) {
      changed.push_back(absl::StrCat("tenant ", tenant, " has no limits any more"));
    }
  }
  return changed;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Guard>> Guard::Open(const GuardOptions& options) {
  std::unique_ptr<Guard> guard(new Guard(options));
  ASSIGN_OR_RETURN(guard->audit_, AuditLog::Open(options.audit_log));
  if (!options.tls.certificate.empty()) {
    ASSIGN_OR_RETURN(guard->tls_, TlsIdentity::Open(options.tls));
  }
  if (guard->has_credentials()) {
    ASSIGN_OR_RETURN(Credentials credentials, Credentials::ReadFile(options.credentials_file));
    guard->rates_.SetLimits(credentials.limits(), absl::Now());
    absl::MutexLock lock(&guard->mu_);
    guard->credentials_ = std::make_shared<const Credentials>(std::move(credentials));
  }
  return guard;
}

std::vector<std::string> Guard::Warnings() const {
  return tls_ == nullptr ? std::vector<std::string>() : tls_->EndingSoon();
}

std::shared_ptr<const Credentials> Guard::credentials() const {
  absl::MutexLock lock(&mu_);
  return credentials_;
}

absl::StatusOr<Principal> Guard::Authenticate(absl::string_view bearer_token,
                                              const Peer& peer) const {
  const std::vector<std::string>& names = peer.certificate_names;
  const std::shared_ptr<const Credentials> credentials = this->credentials();
  if (credentials == nullptr) {
    Principal principal = LocalOperator();
    if (!names.empty()) principal.name = names.front();
    return principal;
  }
  if (!bearer_token.empty()) {
    if (!peer.is_private) {
      return NotKnown("a token is not taken where others can read along; use TLS");
    }
    const Principal* found = credentials->FindToken(DigestOf(bearer_token));
    if (found == nullptr) return NotKnown("the token is not one of this server's credentials");
    return *found;
  }
  if (const Principal* found = credentials->FindCertificate(names); found != nullptr) {
    return *found;
  }
  if (peer.is_unix) return LocalOperator();
  if (names.empty()) {
    return NotKnown("this server needs a credential: send \"authorization: Bearer TOKEN\"");
  }
  return NotKnown(absl::StrCat("the certificate of ", names.front().substr(0, 64),
                               " is not one of this server's credentials"));
}

absl::Status Guard::TakeCall(const Principal& principal) {
  if (!has_credentials()) return absl::OkStatus();
  return rates_.TakeCall(principal.tenant, absl::Now());
}

void Guard::ChargeBytes(const Principal& principal, int64_t bytes) {
  if (has_credentials()) rates_.ChargeBytes(principal.tenant, bytes, absl::Now());
}

absl::StatusOr<std::vector<std::string>> Guard::Reload() {
  absl::MutexLock reload_lock(&reload_mu_);
  std::vector<std::string> changed;
  // All that can fail comes first, but the last step: it changes what new connections are shown.
  std::shared_ptr<const Credentials> next;
  if (has_credentials()) {
    ASSIGN_OR_RETURN(Credentials read, Credentials::ReadFile(options_.credentials_file));
    next = std::make_shared<const Credentials>(std::move(read));
  }
  RETURN_IF_ERROR(audit_->Reopen());
  if (tls_ != nullptr) {
    ASSIGN_OR_RETURN(const bool is_other, tls_->Reload());
    if (is_other) changed.push_back("certificates");
  }
  if (next == nullptr) return changed;
  const LimitsByTenant before = credentials()->limits();
  changed.push_back(absl::StrCat(next->size(), " credentials"));
  for (std::string& difference : Differences(before, next->limits())) {
    changed.push_back(std::move(difference));
  }
  rates_.SetLimits(next->limits(), absl::Now());
  {
    absl::MutexLock lock(&mu_);
    credentials_ = next;
  }
  if (follow_) follow_(next->limits());
  return changed;
}

void Guard::FollowLimits(std::function<void(const LimitsByTenant&)> follow) {
  absl::MutexLock reload_lock(&reload_mu_);
  follow_ = std::move(follow);
  const std::shared_ptr<const Credentials> credentials = this->credentials();
  if (follow_ && credentials != nullptr) follow_(credentials->limits());
}

}  // namespace reprise::api
