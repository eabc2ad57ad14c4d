// What PEM files hold, as OpenSSL's objects. Pure functions; thread-safe.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace reprise::api {

struct OpenSslDeleter {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Certificate = std::unique_ptr<X509, OpenSslDeleter>;
using PrivateKey = std::unique_ptr<EVP_PKEY, OpenSslDeleter>;

// All certificates of `pem`, in order. kInvalidArgument: there is none, or one is damaged; the
// message goes on from the name of a file.
absl::StatusOr<std::vector<Certificate>> CertificatesIn(const std::string& pem);
// The first private key of `pem`; null: there is none, or only a password opens it.
PrivateKey PrivateKeyIn(const std::string& pem);

}  // namespace reprise::api
