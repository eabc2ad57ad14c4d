#include "api/auth/tls_context.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "api/auth/pem.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

absl::Status Unfit(absl::string_view what) {
  char reason[256] = "";
  ERR_error_string_n(ERR_peek_last_error(), reason, sizeof(reason));
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrCat("OpenSSL does not take the ", what, ": ", reason));
}

absl::Status UseIdentity(const TlsMaterial& material, SSL_CTX* context) {
  ASSIGN_OR_RETURN(std::vector<Certificate> chain, CertificatesIn(material.certificate));
  if (SSL_CTX_use_certificate(context, chain[0].get()) != 1) return Unfit("certificate");
  for (size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, chain[i].get()) != 1) return Unfit("chain");
  }
  const PrivateKey key = PrivateKeyIn(material.key);
  if (key == nullptr || SSL_CTX_use_PrivateKey(context, key.get()) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    return Unfit("key");
  }
  return absl::OkStatus();
}

absl::Status AskClients(const std::string& authorities, SSL_CTX* context) {
  ASSIGN_OR_RETURN(const std::vector<Certificate> certificates, CertificatesIn(authorities));
  for (const Certificate& authority : certificates) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) != 1 ||
        SSL_CTX_add_client_CA(context, authority.get()) != 1) {
      return Unfit("authority for clients");
    }
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return absl::OkStatus();
}

std::string TextOf(const ASN1_STRING* text) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, text);
  if (size < 0) return "";
  std::string result(reinterpret_cast<const char*>(utf8), static_cast<size_t>(size));
  OPENSSL_free(utf8);
  return result;
}

std::string AddressOf(const ASN1_OCTET_STRING* bytes) {
  char text[INET6_ADDRSTRLEN] = "";
  const int family = ASN1_STRING_length(bytes) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(bytes) != 16) return "";
  inet_ntop(family, ASN1_STRING_get0_data(bytes), text, sizeof(text));
  return text;
}

// Names that stand beside the subject; empty: of a kind that names nobody here.
std::string AlternativeName(const GENERAL_NAME* name) {
  switch (name->type) {
    case GEN_DNS:
      return TextOf(name->d.dNSName);
    case GEN_URI:
      return TextOf(name->d.uniformResourceIdentifier);
    case GEN_EMAIL:
      return TextOf(name->d.rfc822Name);
    case GEN_IPADD:
      return AddressOf(name->d.iPAddress);
    default:
      return "";
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<const TlsContext>> TlsContext::Make(const TlsMaterial& material) {
  SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
  if (context == nullptr) return Unfit("machine");
  const std::shared_ptr<const TlsContext> made(new TlsContext(context));
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  RETURN_IF_ERROR(UseIdentity(material, context));
  if (!material.client_ca.empty()) RETURN_IF_ERROR(AskClients(material.client_ca, context));
  return made;
}

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

ssl_st* TlsContext::NewConnection() const { return SSL_new(context_); }

std::vector<std::string> VerifiedNames(const ssl_st* connection) {
  std::vector<std::string> names;
  X509* const certificate = SSL_get0_peer_certificate(connection);
  if (certificate == nullptr || SSL_get_verify_result(connection) != X509_V_OK) return names;
  const auto add = [&names](std::string name) {
    if (!name.empty()) names.push_back(std::move(name));
  };
  auto* const beside = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(beside); ++i) {
    add(AlternativeName(sk_GENERAL_NAME_value(beside, i)));
  }
  GENERAL_NAMES_free(beside);
  const X509_NAME* const subject = X509_get_subject_name(certificate);
  for (int i = -1; (i = X509_NAME_get_index_by_NID(subject, NID_commonName, i)) >= 0;) {
    add(TextOf(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i))));
  }
  return names;
}

}  // namespace reprise::api
