// A client that takes little before it reads.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

namespace reprise::api {

// A channel to `address`, by a connection of its own, over which a server may send `window_bytes`
// of a stream before the client reads them; what waits for more waits in the server.
inline std::shared_ptr<grpc::Channel> ConnectWithWindow(const std::string& address,
                                                        int window_bytes) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, window_bytes);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace reprise::api
