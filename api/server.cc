#include "api/server.h"

#include <grpcpp/alarm.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "api/auth/caller.h"
#include "api/auth/listener_credentials.h"
#include "api/end_call.h"
#include "api/limits.h"
#include "api/log/call_log_interceptor.h"
#include "api/reflection_limit.h"
#include "api/status_codec.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {

Server::Server(const ServedParts& parts, std::unique_ptr<Guard> open_guard)
    : open_guard_(std::move(open_guard)),
      guard_(parts.guard != nullptr ? parts.guard : open_guard_.get()),
      log_(parts.log),
      max_silence_(parts.max_silence),
      cache_service_(parts.store, parts.engine,
                     parts.session_limits.value_or(SessionLimitsOf(*parts.store)),
                     {.socket_path = parts.arena_socket, .bytes = parts.store->ram_arena().bytes()},
                     parts.max_message_time),
      inference_service_(parts.engine, parts.model_name),
      recording_(parts.store),
      admin_service_(
          parts.reload ? parts.reload : [guard = guard_] { return guard->Reload(); }, parts.store,
          &cache_service_.sessions(), &recording_, parts.drain, parts.max_message_time) {}

namespace {

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

void SetLimits(grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kMaxFrameBytes);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kStreamWindowBytes);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(kKeepaliveTime));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(kKeepaliveTimeout));
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              Milliseconds(kMinClientPingInterval));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  grpc::ResourceQuota quota("reprise");
  quota.SetMaxThreads(kMaxCacheCalls);
  quota.Resize(kMaxTransportBytes);
  builder->SetResourceQuota(quota);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ListenAddress& listen,
                                                      const ServedParts& parts) {
  // Both act on every server built in the process from now on; calling them again changes nothing.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();

  ASSIGN_OR_RETURN(std::unique_ptr<Guard> open_guard, Guard::Open(GuardOptions()));
  std::unique_ptr<Server> server(new Server(parts, std::move(open_guard)));
  server->address_ = listen;
  // Before the first call.
  server->guard_->FollowLimits(
      [store = parts.store](const LimitsByTenant& limits) { store->SetQuotas(QuotasOf(limits)); });
  if (!parts.record_file.empty()) {
    RETURN_IF_ERROR(server->recording_.StartNext(parts.record_file, /*max_bytes=*/0).status());
  }
  if (!parts.arena_socket.empty()) {
    ASSIGN_OR_RETURN(server->arena_socket_,
                     ArenaSocket::Listen({.path = parts.arena_socket, .user = geteuid()},
                                         parts.store->ram_arena(), &server->sessions()));
  }
  ASSIGN_OR_RETURN(server->server_,
                   server->StartOn(&server->address_, &server->running_,
                                   {&server->cache_service_, &server->inference_service_}));
  if (parts.admin_listen) {
    server->admin_address_ = *parts.admin_listen;
    ASSIGN_OR_RETURN(server->admin_server_,
                     server->StartOn(&server->admin_address_, &server->admin_running_,
                                     {&server->admin_service_}));
  }
  grpc::HealthCheckServiceInterface* health = server->server_->GetHealthCheckService();
  health->SetServingStatus(v1::Cache::service_full_name(), true);
  health->SetServingStatus(v1::Inference::service_full_name(), parts.engine != nullptr);
  return server;
}

absl::StatusOr<std::unique_ptr<grpc::Server>> Server::StartOn(
    ListenAddress* listen, RunningCalls* running, const std::vector<grpc::Service*>& services) {
  if (guard_->has_credentials() && guard_->tls() == nullptr && !listen->IsLocal()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokens would cross the network in plaintext on ", listen->ToString()));
  }
  grpc::ServerBuilder builder;
  // Without this, two servers on one port would share its connections instead of the second
  // failing.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  SetLimits(&builder);
  int port = 0;
  builder.AddListeningPort(listen->ToString(),
                           MakeListenerCredentials(*listen, guard_, running, log_), &port);
  for (grpc::Service* service : services) builder.RegisterService(service);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(
      std::make_unique<CallerInterceptorFactory>(*listen, guard_, running, max_silence_));
  if (log_ != nullptr) {
    interceptors.push_back(std::make_unique<CallLogInterceptorFactory>(log_));
  }
  interceptors.push_back(std::make_unique<ReflectionLimitFactory>(max_silence_));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  std::unique_ptr<grpc::Server> started = builder.BuildAndStart();
  if (started == nullptr || port == 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", listen->ToString()));
  }
  // gRPC answers 1 for a Unix socket.
  if (listen->unix_path.empty()) listen->port = static_cast<uint16_t>(port);
  return started;
}

Server::~Server() {
  Shutdown(absl::Now());
  guard_->FollowLimits({});
}

void Server::Shutdown(absl::Time deadline) {
  if (server_ == nullptr) return;
  server_->GetHealthCheckService()->Shutdown();
  const absl::Status shutting_down = absl::UnavailableError("the server is shutting down");
  running_.Close(shutting_down);
  // They would go on for as long as there is time.
  cache_service_.EndStreams(shutting_down);
  // What is left then is told why; of gRPC it would hear CANCELLED, as if the client had wanted it.
  grpc::Alarm no_more_time;
  no_more_time.Set(absl::ToChronoTime(deadline),
                   [guard = guard_, status = ToGrpc(shutting_down)](bool is_time) {
                     if (is_time) EndCalls(guard, status);
                   });
  // With calls under way gRPC would close each connection behind its last one. What the client had
  // not taken by then would be lost as soon as it said anything, and windows are said at any time.
  // Without any, gRPC first has it answer a ping, which it does behind all that it was sent.
  running_.AwaitNone(deadline + kMaxCallEnd);
  server_->Shutdown(absl::ToChronoTime(absl::Now() + kMaxCallEnd));
  server_->Wait();
  server_.reset();
  arena_socket_.reset();
  // gRPC gives back what it was sending a moment later; what is pinned cannot go to disk.
  cache_service_.send_budget().AwaitIdle(absl::Now() + kMaxSendEnd);
  // Last, so that an operator can see the server end.
  if (admin_server_ == nullptr) return;
  admin_server_->Shutdown(absl::ToChronoTime(absl::Now()));
  admin_server_->Wait();
  admin_server_.reset();
}

}  // namespace reprise::api
