#include "api/auth/peer_of.h"

#include <grpc/grpc_security_constants.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace reprise::api {
namespace {

std::vector<std::string> Properties(const grpc_auth_context* connection, const char* name) {
  std::vector<std::string> values;
  grpc_auth_property_iterator it = grpc_auth_context_find_properties_by_name(connection, name);
  while (const grpc_auth_property* property = grpc_auth_property_iterator_next(&it)) {
    values.emplace_back(property->value, property->value_length);
  }
  return values;
}

}  // namespace

Peer PeerOf(const ListenAddress& listener, std::string address,
            const grpc_auth_context* connection) {
  Peer peer;
  peer.address = std::move(address);
  peer.is_unix = !listener.unix_path.empty();
  peer.is_private = listener.IsLocal();
  if (connection == nullptr) return peer;
  for (const std::string& type :
       Properties(connection, GRPC_TRANSPORT_SECURITY_TYPE_PROPERTY_NAME)) {
    if (type == GRPC_SSL_TRANSPORT_SECURITY_TYPE) peer.is_private = true;
  }
  if (grpc_auth_context_peer_is_authenticated(connection) == 0) return peer;
  peer.certificate_names = Properties(connection, GRPC_X509_SAN_PROPERTY_NAME);
  for (std::string& name : Properties(connection, GRPC_X509_CN_PROPERTY_NAME)) {
    peer.certificate_names.push_back(std::move(name));
  }
  return peer;
}

absl::string_view BearerToken(absl::string_view header) {
  constexpr absl::string_view kScheme = "bearer ";
  if (!absl::StartsWithIgnoreCase(header, kScheme)) return "";
  return absl::StripAsciiWhitespace(header.substr(kScheme.size()));
}

}  // namespace reprise::api
