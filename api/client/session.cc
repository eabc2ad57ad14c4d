#include "api/client/session.h"

#include "api/client/prompt_fields.h"
#include "api/client/session_core.h"

namespace reprise::api {

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  Release();
  core_ = std::move(other.core_);
  id_ = std::move(other.id_);
  return *this;
}

v1::LeaseState Lease::state() const { return core_->StateOf(id_); }

v1::LeaseState Lease::Wait(absl::Time deadline) const { return core_->Await(id_, deadline); }

void Lease::Release() {
  if (core_ == nullptr) return;
  core_->ReleaseSoon(id_);
  core_ = nullptr;
}

CacheSession::CacheSession(std::shared_ptr<SessionCore> core, v1::SessionOpened opened)
    : core_(std::move(core)),
      opened_(std::move(opened)),
      reader_([core = core_.get()] { core->ReadEvents(); }),
      renewer_([core = core_.get()] { core->RenewLeases(); }) {}

absl::StatusOr<std::unique_ptr<CacheSession>> CacheSession::Open(const std::string& address,
                                                                 const Options& options) {
  auto core = std::make_shared<SessionCore>(address, options);
  absl::StatusOr<v1::SessionOpened> opened = core->Open();
  if (!opened.ok()) return opened.status();
  return std::unique_ptr<CacheSession>(new CacheSession(std::move(core), *std::move(opened)));
}

CacheSession::~CacheSession() {
  core_->Close();
  reader_.join();
  renewer_.join();
}

absl::StatusOr<Acquired> CacheSession::Acquire(uint32_t namespace_id,
                                               const cachestore::BlockContent& prompt,
                                               v1::AcquireRequest wanted, absl::Duration timeout) {
  wanted.set_namespace_id(namespace_id);
  SetContent(prompt, wanted.mutable_token_ids(), wanted.mutable_external_keys());
  absl::StatusOr<v1::AcquireResponse> response = core_->Acquire(std::move(wanted), timeout);
  if (!response.ok()) return response.status();
  Acquired acquired;
  if (response->has_lease()) acquired.lease = Lease(core_, response->lease().lease_id());
  acquired.response = *std::move(response);
  return acquired;
}

absl::Status CacheSession::EndRequest(Lease lease, const v1::CacheHints& hints,
                                      int64_t output_tokens, absl::Duration timeout) {
  return core_->EndRequest(lease.id(), hints, output_tokens, timeout);
}

absl::Status CacheSession::Flush(absl::Duration timeout) { return core_->Flush(timeout); }

absl::Status CacheSession::status() const { return core_->status(); }

}  // namespace reprise::api
