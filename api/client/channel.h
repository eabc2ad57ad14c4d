// How the clients connect and what they allow a call. Used by the client library alone.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "absl/time/time.h"

namespace reprise::api {

// A channel to a server's listen address ("127.0.0.1:50051", "unix:/path"). Connects on first use.
std::shared_ptr<grpc::Channel> ConnectTo(const std::string& address);

// Ends the call with DEADLINE_EXCEEDED after `timeout`; never, when it is infinite.
void SetTimeout(absl::Duration timeout, grpc::ClientContext* context);

}  // namespace reprise::api
