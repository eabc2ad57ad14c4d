#include "api/auth/tls_identity.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "api/auth/pem.h"
#include "api/auth/private_file.h"
#include "api/cli/text_file.h"
#include "api/limits.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

absl::Status Wrong(const std::string& file, absl::string_view what) {
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrCat(file, " ", what));
}

absl::StatusOr<std::vector<Certificate>> CertificatesOf(const std::string& file,
                                                        const std::string& pem) {
  absl::StatusOr<std::vector<Certificate>> certificates = CertificatesIn(pem);
  if (!certificates.ok()) return Wrong(file, certificates.status().message());
  return certificates;
}

// What people call a certificate: its subject.
std::string SubjectOf(const X509& certificate) {
  char subject[256];
  return X509_NAME_oneline(X509_get_subject_name(&certificate), subject, sizeof(subject));
}

// From now until the certificate ends; negative: it has.
absl::Duration TimeLeft(const X509& certificate) {
  int days = 0;
  int seconds = 0;
  ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(&certificate));
  return absl::Hours(24) * days + absl::Seconds(seconds);
}

bool HasBegun(const X509& certificate) {
  return X509_cmp_current_time(X509_get0_notBefore(&certificate)) < 0;
}

// Whether each certificate is in date and has been signed by the next one.
absl::Status CheckChain(const std::string& file, const std::vector<Certificate>& chain) {
  for (size_t i = 0; i < chain.size(); ++i) {
    const auto wrong = [&](absl::string_view what) {
      return Wrong(file, absl::StrCat("is of no use: certificate ", i + 1, ", ",
                                      SubjectOf(*chain[i]), ", ", what));
    };
    if (!HasBegun(*chain[i])) return wrong("is not valid yet");
    if (TimeLeft(*chain[i]) < absl::ZeroDuration()) return wrong("has expired");
    if (i + 1 == chain.size()) break;
    X509* const issuer = chain[i + 1].get();
    if (X509_check_issued(issuer, chain[i].get()) != X509_V_OK ||
        X509_verify(chain[i].get(), X509_get0_pubkey(issuer)) != 1) {
      return wrong(absl::StrCat("has not been signed by the one behind it, ", SubjectOf(*issuer),
                                "; the server's certificate is first and each one's issuer next"));
    }
  }
  return absl::OkStatus();
}

absl::Status Check(const TlsFiles& files, const TlsMaterial& material) {
  ASSIGN_OR_RETURN(const std::vector<Certificate> chain,
                   CertificatesOf(files.certificate, material.certificate));
  const PrivateKey key = PrivateKeyIn(material.key);
  if (key == nullptr) return Wrong(files.key, "holds no private key in PEM without a password");
  if (X509_check_private_key(chain[0].get(), key.get()) != 1) {
    return Wrong(files.key, absl::StrCat("is not the key of ", files.certificate));
  }
  RETURN_IF_ERROR(CheckChain(files.certificate, chain));
  if (files.client_ca.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<Certificate> authorities,
                   CertificatesOf(files.client_ca, material.client_ca));
  for (const Certificate& authority : authorities) {
    if (HasBegun(*authority) && TimeLeft(*authority) > absl::ZeroDuration()) {
      return absl::OkStatus();
    }
  }
  return Wrong(files.client_ca, "holds no authority that is in date: no client would be let in");
}

// Those of `pem`, which has been checked, that end soon.
void AddEndingSoon(const std::string& file, const std::string& pem,
                   std::vector<std::string>* warnings) {
  const auto certificates = CertificatesIn(pem);
  if (!certificates.ok()) return;
  for (const Certificate& certificate : *certificates) {
    const absl::Duration left = TimeLeft(*certificate);
    if (left > kEndsSoon) continue;
    const std::string end =
        absl::FormatTime("%Y-%m-%d %H:%M UTC", absl::Now() + left, absl::UTCTimeZone());
    warnings->push_back(absl::StrCat(file, ": ", SubjectOf(*certificate),
                                     left < absl::ZeroDuration() ? " has expired on " : " ends on ",
                                     end));
  }
}

// When the first certificate of `pem`, which has been checked, ends.
absl::Time FirstEnd(const std::string& pem) {
  absl::Time first = absl::InfiniteFuture();
  const auto certificates = CertificatesIn(pem);
  if (!certificates.ok()) return first;
  for (const Certificate& certificate : *certificates) {
    first = std::min(first, absl::Now() + TimeLeft(*certificate));
  }
  return first;
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
  absl::StatusOr<std::shared_ptr<const TlsContext>> context = TlsContext::Make(material);
  if (!context.ok()) return Wrong(files_.certificate, context.status().message());
  const absl::Time ends = FirstEnd(material.certificate);
  absl::MutexLock lock(&mu_);
  if (material_ != nullptr && *material_ == material) return false;
  ends_ = ends;
  material_ = std::make_shared<const TlsMaterial>(std::move(material));
  context_ = *std::move(context);
  return true;
}

std::vector<std::string> TlsIdentity::EndingSoon() const {
  const std::shared_ptr<const TlsMaterial> shown = material();
  std::vector<std::string> warnings;
  AddEndingSoon(files_.certificate, shown->certificate, &warnings);
  if (asks_clients()) AddEndingSoon(files_.client_ca, shown->client_ca, &warnings);
  return warnings;
}

absl::Time TlsIdentity::ends() const {
  absl::MutexLock lock(&mu_);
  return ends_;
}

std::shared_ptr<const TlsMaterial> TlsIdentity::material() const {
  absl::MutexLock lock(&mu_);
  return material_;
}

std::shared_ptr<const TlsContext> TlsIdentity::context() const {
  absl::MutexLock lock(&mu_);
  return context_;
}

}  // namespace reprise::api
