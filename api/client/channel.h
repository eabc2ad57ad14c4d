// How clients connect and what they allow a call.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "absl/time/time.h"

namespace reprise::api {

// What a client shows a server, and what it asks of it. Plain data.
struct ClientAccess {
  std::string token;  // empty: none
  // PEM, not paths. Not empty: TLS, with a server whose certificate comes from this authority.
  std::string server_ca;
  std::string certificate;  // of the client; empty: none
  std::string key;
};

// A channel to a server's listen address ("127.0.0.1:50051", "unix:/path"). Connects on first use.
// The token is sent with every call, also without TLS: over a network only the server can refuse it
// then, too late.
std::shared_ptr<grpc::Channel> ConnectTo(const std::string& address,
                                         const ClientAccess& access = {});

// Ends the call with DEADLINE_EXCEEDED after `timeout`; never, when it is infinite.
void SetTimeout(absl::Duration timeout, grpc::ClientContext* context);

}  // namespace reprise::api
