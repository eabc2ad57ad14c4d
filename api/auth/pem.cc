#include "api/auth/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "absl/strings/str_cat.h"

namespace reprise::api {
namespace {

std::unique_ptr<BIO, OpenSslDeleter> Reader(const std::string& pem) {
  return std::unique_ptr<BIO, OpenSslDeleter>(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// A key with a password would make OpenSSL ask for it on the terminal.
int NoPassword(char*, int, int, void*) { return 0; }

}  // namespace

absl::StatusOr<std::vector<Certificate>> CertificatesIn(const std::string& pem) {
  std::vector<Certificate> certificates;
  const std::unique_ptr<BIO, OpenSslDeleter> reader = Reader(pem);
  ERR_clear_error();
  while (X509* next = PEM_read_bio_X509(reader.get(), nullptr, NoPassword, nullptr)) {
    certificates.emplace_back(next);
  }
  const unsigned long error = ERR_peek_last_error();
  ERR_clear_error();
  if (ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE) {
    return absl::InvalidArgumentError(
        absl::StrCat("is damaged: certificate ", certificates.size() + 1, " cannot be read"));
  }
  if (certificates.empty()) return absl::InvalidArgumentError("holds no certificate in PEM");
  return certificates;
}

PrivateKey PrivateKeyIn(const std::string& pem) {
  PrivateKey key(PEM_read_bio_PrivateKey(Reader(pem).get(), nullptr, NoPassword, nullptr));
  ERR_clear_error();
  return key;
}

}  // namespace reprise::api
