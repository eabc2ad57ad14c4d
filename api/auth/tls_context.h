// TlsContext: OpenSSL's side of a TLS server whose connections are not gRPC's: TLS 1.2 and 1.3, no
// session is resumed, so that every connection is judged by the certificates of its time. Immutable
// after construction; thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

// OpenSSL's, whose headers nobody outside of this folder needs.
struct ssl_ctx_st;
struct ssl_st;

namespace reprise::api {

// What the files of a TlsIdentity hold, in PEM. Plain data.
struct TlsMaterial {
  std::string certificate;  // with its chain
  std::string key;
  std::string client_ca;  // not empty: clients must show a certificate of these authorities

  friend bool operator==(const TlsMaterial&, const TlsMaterial&) = default;
};

class TlsContext {
 public:
  // kInvalidArgument: OpenSSL takes the material for unfit, with its reason.
  static absl::StatusOr<std::shared_ptr<const TlsContext>> Make(const TlsMaterial& material);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // A connection that a client has begun, for the caller to free; null: memory is short. It may
  // outlive the context.
  ssl_st* NewConnection() const;

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}

  ssl_ctx_st* const context_;
};

// The names of the client's certificate, as of Peer::certificate_names; none where it was not asked
// for one. REQUIRES: the handshake has ended well.
std::vector<std::string> VerifiedNames(const ssl_st* connection);

}  // namespace reprise::api
