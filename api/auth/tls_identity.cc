#include "api/auth/tls_identity.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "api/auth/private_file.h"
#include "api/cli/text_file.h"
#include "api/limits.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

struct Deleter {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

std::unique_ptr<BIO, Deleter> Reader(const std::string& pem) {
  return std::unique_ptr<BIO, Deleter>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// A key with a password would make OpenSSL ask for it on the terminal.
int NoPassword(char*, int, int, void*) { return 0; }

std::unique_ptr<X509, Deleter> CertificateIn(const std::string& pem) {
  return std::unique_ptr<X509, Deleter>(
      PEM_read_bio_X509(Reader(pem).get(), nullptr, NoPassword, nullptr));
}

absl::Status Check(const TlsFiles& files, const TlsMaterial& material) {
  const auto wrong = [](const std::string& file, absl::string_view what) {
    ERR_clear_error();
    return absl::InvalidArgumentError(absl::StrCat(file, " ", what));
  };
  const std::unique_ptr<X509, Deleter> certificate = CertificateIn(material.certificate);
  if (certificate == nullptr) return wrong(files.certificate, "holds no certificate in PEM");
  const std::unique_ptr<EVP_PKEY, Deleter> key(
      PEM_read_bio_PrivateKey(Reader(material.key).get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) return wrong(files.key, "holds no private key in PEM without a password");
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return wrong(files.key, absl::StrCat("is not the key of ", files.certificate));
  }
  if (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0) {
    return wrong(files.certificate, "has expired");
  }
  if (!files.client_ca.empty() && CertificateIn(material.client_ca) == nullptr) {
    return wrong(files.client_ca, "holds no certificate in PEM");
  }
  return absl::OkStatus();
}

absl::StatusOr<TlsMaterial> Read(const TlsFiles& files) {
  TlsMaterial material;
  ASSIGN_OR_RETURN(material.certificate, ReadFile(files.certificate));
  ASSIGN_OR_RETURN(material.key, ReadPrivateFile(files.key, kMaxCredentialsBytes));
  if (!files.client_ca.empty()) {
    ASSIGN_OR_RETURN(material.client_ca, ReadFile(files.client_ca));
  }
  RETURN_IF_ERROR(Check(files, material));
  return material;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TlsIdentity>> TlsIdentity::Open(const TlsFiles& files) {
  std::unique_ptr<TlsIdentity> identity(new TlsIdentity(files));
  RETURN_IF_ERROR(identity->Reload().status());
  return identity;
}

absl::StatusOr<bool> TlsIdentity::Reload() {
  ASSIGN_OR_RETURN(TlsMaterial material, Read(files_));
  absl::MutexLock lock(&mu_);
  if (material_ != nullptr && *material_ == material) return false;
  material_ = std::make_shared<const TlsMaterial>(std::move(material));
  return true;
}

std::shared_ptr<const TlsMaterial> TlsIdentity::material() const {
  absl::MutexLock lock(&mu_);
  return material_;
}

}  // namespace reprise::api
