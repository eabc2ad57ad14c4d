#include "api/session/session_table.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "api/session/random_id.h"
#include "cachestore/base/check.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

absl::Status NoSession() {
  return absl::NotFoundError(
      "there is no such session: it has ended with its stream, or never was; open one with "
      "OpenSession");
}

}  // namespace

SessionAnchor::~SessionAnchor() {
  session_->RemoveAnchor();
  table_->Forget(*session_);
}

SessionTable::SessionTable(cachestore::TieredStore* store, const SessionLimits& limits,
                           SharedArena arena)
    : store_(store),
      limits_(limits),
      arena_(std::move(arena)),
      all_bytes_(limits.bytes),
      keeper_([this](absl::Time now) { return Expire(now); }) {}

SessionTable::~SessionTable() = default;

absl::StatusOr<std::shared_ptr<Session>> SessionTable::Open(const SessionOwner& owner,
                                                            bool shared_memory,
                                                            std::shared_ptr<SessionSink> sink) {
  if (shared_memory && arena_.socket_path.empty()) {
    return absl::FailedPreconditionError(
        "this server offers no shared memory; open the session without it");
  }
  absl::MutexLock lock(&mu_);
  RETURN_IF_ERROR(closed_);
  if (static_cast<int64_t>(sessions_.size()) >= limits_.sessions) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the server has ", sessions_.size(), " sessions, as many as it may; try again later"));
  }
  const auto [tenant, is_new] = tenants_.try_emplace(owner.tenant);
  if (is_new) {
    tenant->second.bytes = std::make_shared<ByteBudget>(
        owner.tenant.empty() ? limits_.bytes : limits_.bytes_per_tenant);
  }
  int64_t& owned = tenant->second.sessions[owner.name];
  if (owned >= limits_.sessions_per_principal) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", owned, " sessions of \"", owner.name,
                     "\", as many as it may have; end one, or use it for more"));
  }
  ++owned;
  const Session::Parts parts = {.store = store_,
                                .all_bytes = &all_bytes_,
                                .tenant_bytes = tenant->second.bytes,
                                .stats = &stats_,
                                .limits = &limits_,
                                .arena = &arena_,
                                .keeper = keeper_.queue()};
  auto session =
      std::make_shared<Session>(parts, RandomId(), owner, shared_memory, std::move(sink));
  sessions_.emplace(session->id(), session);
  return session;
}

absl::StatusOr<std::shared_ptr<Session>> SessionTable::Find(const SessionOwner& owner,
                                                            absl::string_view session_id) const {
  absl::MutexLock lock(&mu_);
  const auto it = sessions_.find(session_id);
  // To others a session looks as if it were not there.
  if (it == sessions_.end() || it->second->owner() != owner) return NoSession();
  return it->second;
}

void SessionTable::Close(const std::shared_ptr<Session>& session) {
  session->End();
  Forget(*session);
}

void SessionTable::Forget(const Session& session) {
  if (!session.gone()) return;
  std::shared_ptr<Session> forgotten;  // destroyed without the lock
  absl::MutexLock lock(&mu_);
  const auto it = sessions_.find(session.id());
  if (it == sessions_.end()) return;
  forgotten = std::move(it->second);
  sessions_.erase(it);
  const auto tenant = tenants_.find(forgotten->owner().tenant);
  CHECK(tenant != tenants_.end());
  auto& owned = tenant->second.sessions;
  const auto of_owner = owned.find(forgotten->owner().name);
  CHECK(of_owner != owned.end());
  if (--of_owner->second == 0) owned.erase(of_owner);
  if (owned.empty()) tenants_.erase(tenant);
}

absl::StatusOr<std::unique_ptr<SessionAnchor>> SessionTable::Anchor(absl::string_view session_id) {
  std::shared_ptr<Session> session;
  {
    absl::MutexLock lock(&mu_);
    const auto it = sessions_.find(session_id);
    if (it == sessions_.end()) return NoSession();
    session = it->second;
  }
  if (!session->shared()) {
    return absl::FailedPreconditionError("the session was opened without shared_memory");
  }
  RETURN_IF_ERROR(session->AddAnchor());
  return std::make_unique<SessionAnchor>(this, std::move(session));
}

std::vector<std::shared_ptr<Session>> SessionTable::All() const {
  std::vector<std::shared_ptr<Session>> all;
  absl::MutexLock lock(&mu_);
  all.reserve(sessions_.size());
  for (const auto& [id, session] : sessions_) all.push_back(session);
  return all;
}

std::vector<v1::SessionInfo> SessionTable::List() const {
  std::vector<v1::SessionInfo> infos;
  for (const std::shared_ptr<Session>& session : All()) {
    std::optional<v1::SessionInfo> info = session->Info();
    if (info.has_value()) infos.push_back(*std::move(info));
  }
  return infos;
}

absl::Status SessionTable::End(absl::string_view public_id, const absl::Status& status) {
  for (const std::shared_ptr<Session>& session : All()) {
    const std::optional<v1::SessionInfo> info = session->Info();
    if (!info.has_value() || info->public_id() != public_id) continue;
    session->End(status);
    return absl::OkStatus();
  }
  return absl::NotFoundError("there is no such session, or it has ended; ListSessions tells");
}

void SessionTable::EndAll(const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    closed_ = status;
  }
  for (const std::shared_ptr<Session>& session : All()) session->End(status);
}

absl::Time SessionTable::Expire(absl::Time now) {
  absl::Time next = absl::InfiniteFuture();
  for (const std::shared_ptr<Session>& session : All()) next = std::min(next, session->Expire(now));
  return next;
}

LeaseStats::Values SessionTable::stats() const {
  LeaseStats::Values values = stats_.values();
  values.held_bytes = all_bytes_.used();
  absl::MutexLock lock(&mu_);
  values.sessions = static_cast<int64_t>(sessions_.size());
  return values;
}

}  // namespace reprise::api
