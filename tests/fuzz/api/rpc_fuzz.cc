// Every RPC, with random and damaged messages, against a live server in this process: it never
// crashes, keeps nothing pinned, and takes no more memory than its limits say.
//
// An input is a line with the method ("Cache/Match") and a message; for Cache/Import, a file. A
// line that names none stands for some method all the same. A message goes as it is, and once more
// with ids of what is there wherever it has any: a namespace, a session, a lease, a grant.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/sync_stream.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "api/client/session.h"
#include "cachestore/base/check.h"
#include "reprise/v1/admin.pb.h"
#include "tests/api/test_server.h"
#include "tests/fakes/temp_folder.h"

namespace reprise::api {
namespace {

namespace pb = ::google::protobuf;

// Long enough for any answer, and for the first one of a stream that has no end.
constexpr absl::Duration kPatience = absl::Milliseconds(200);
constexpr absl::Duration kShortPatience = absl::Milliseconds(5);
constexpr char kImport[] = "Cache/Import";
constexpr char kStartRecording[] = "Admin/StartRecording";
constexpr size_t kMaxNameBytes = 64;
constexpr int kEpoch = 64;  // inputs between two looks at the whole server
// Far above what a server with so little RAM needs, far below what a message can ask for.
constexpr int64_t kMaxResidentBytes = int64_t{1} << 30;

struct Method {
  std::string name;
  std::string path;
  const pb::Descriptor* input;
  std::shared_ptr<grpc::Channel> channel;
};

int64_t ResidentBytes() {
  int64_t total = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// One for all inputs: starting a server takes longer than a thousand calls.
class Target {
 public:
  Target()
      : server_(
            {.ram_bytes = 4 << 20, .disk_bytes = 4 << 20, .shared_memory = true, .admin = true}),
        modelless_({.ram_bytes = 4 << 20, .disk_bytes = 0, .max_positions = 0}),
        stub_(v1::Cache::NewStub(ConnectTo(server_.address()))) {
    const auto opened = server_.cache().OpenNamespace(TestIdentity(), kTestTimeout);
    CHECK(opened.ok());
    namespace_id_ = opened->namespace_id();
    block_bytes_ = opened->block_bytes();
    const auto channel = ConnectTo(server_.address());
    const auto admin = ConnectTo(server_.server().admin_address().ToString());
    AddMethods(*v1::GetRequest::descriptor()->file()->service(0), channel);
    AddMethods(*v1::GenerateRequest::descriptor()->file()->service(0), channel);
    AddMethods(*v1::ReloadRequest::descriptor()->file()->service(0), admin);
    // One with a model takes the blocks of no other.
    for (Method& method : methods_) {
      if (method.name == kImport) method.channel = ConnectTo(modelless_.address());
    }
  }

  void Run(const std::string& input) {
    const size_t line = input.find('\n');
    const std::string name = input.substr(0, line);
    std::string message = line == std::string::npos ? "" : input.substr(line + 1);
    const size_t hash = std::hash<std::string>()(name);
    const Method* method = &methods_[hash % methods_.size()];
    for (const Method& candidate : methods_) {
      if (candidate.name == name) method = &candidate;
    }
    if (method->name == kImport) message = AsChunk(message);
    if (method->name == kStartRecording) message = InFolder(message);
    Call(*method, message);
    const std::string with_ids = WithLiveIds(*method, message);
    if (with_ids != message) Call(*method, with_ids);
    if (method->name == kStartRecording) EndRecording();
    if (++num_inputs_ % kEpoch != 0) return;
    session_.reset();
    CHECK(ResidentBytes() < kMaxResidentBytes);
    CHECK(server_.store().CheckIntegrity().ok());
    CHECK(modelless_.store().CheckIntegrity().ok());
    CHECK(server_.cache().Match(namespace_id_, TestTokens(1), kTestTimeout).ok());
    AwaitNothingHeld();
  }

 private:
  void AddMethods(const pb::ServiceDescriptor& service,
                  const std::shared_ptr<grpc::Channel>& channel) {
    for (int i = 0; i < service.method_count(); ++i) {
      const pb::MethodDescriptor& method = *service.method(i);
      methods_.push_back({absl::StrCat(service.name(), "/", method.name()),
                          absl::StrCat("/", service.full_name(), "/", method.name()),
                          method.input_type(), channel});
    }
  }

  // A piece of a file as a message.
  static std::string AsChunk(const std::string& piece) {
    v1::FileChunk chunk;
    chunk.set_data(piece);
    return chunk.SerializeAsString();
  }

  // A request to record into a file of its folder, whatever it names.
  std::string InFolder(const std::string& bytes) const {
    v1::StartRecordingRequest request;
    if (!request.ParsePartialFromString(bytes) || request.path().empty()) return bytes;
    const std::string name =
        absl::StrReplaceAll(request.path().substr(0, kMaxNameBytes), {{"/", "_"}});
    request.set_path(recordings_ / name);
    return request.SerializePartialAsString();
  }

  void EndRecording() {
    for (const Method& method : methods_) {
      if (method.name == "Admin/StopRecording") Call(method, "");
    }
    for (const auto& file : std::filesystem::directory_iterator(recordings_ / "")) {
      std::filesystem::remove(file);
    }
  }

  // What the next message may name: a session, every other one with shared memory, and of it a
  // lease and a grant.
  void Hold() {
    if (session_ == nullptr || !session_->status().ok()) {
      shared_ = !shared_;
      lease_ = Lease();
      session_ = *CacheSession::Open(server_.address(),
                                     {.shared_memory = shared_, .write_shared_memory = shared_});
    }
    const std::vector<uint32_t> tokens = TestTokens(kBlocks);
    lease_ = TakeLease(tokens);
    if (!lease_) {
      // Some input has taken the blocks out.
      CacheClient client = server_.cache();
      const auto payloads = TestPayloads(kBlocks, block_bytes_);
      client.Put(namespace_id_, {}, TestBlocks(tokens, payloads, 0), kTestTimeout)
          .status()
          .IgnoreError();
      lease_ = TakeLease(tokens);
    }
    grpc::ClientContext context;
    SetTimeout(kTestTimeout, &context);
    v1::GrantRequest request;
    request.set_session_id(std::string(session_->id()));
    request.set_namespace_id(namespace_id_);
    request.set_num_blocks(1);
    v1::GrantResponse granted;
    grant_id_ = stub_->Grant(&context, request, &granted).ok() ? granted.slots(0).grant_id() : "";
  }
  Lease TakeLease(const std::vector<uint32_t>& tokens) {
    auto acquired = session_->Acquire(namespace_id_, tokens, {}, kTestTimeout);
    return acquired.ok() ? std::move(acquired->lease) : Lease();
  }

  // The same message with ids of what is there wherever it names any; as it was, if it names none.
  std::string WithLiveIds(const Method& method, const std::string& bytes) {
    const std::unique_ptr<pb::Message> message(
        pb::MessageFactory::generated_factory()->GetPrototype(method.input)->New());
    if (!message->ParsePartialFromString(bytes)) return bytes;
    const bool is_of_session = method.input->FindFieldByName("session_id") != nullptr ||
                               method.input->FindFieldByName("public_id") != nullptr;
    if (is_of_session) Hold();
    return SetIds(message.get()) ? message->SerializePartialAsString() : bytes;
  }

  // Whether there was an id to set.
  bool SetIds(pb::Message* message) {
    bool found = false;
    std::vector<const pb::FieldDescriptor*> fields;
    const pb::Reflection* reflection = message->GetReflection();
    reflection->ListFields(*message, &fields);
    for (const pb::FieldDescriptor* field : fields) {
      if (field->name() == "namespace_id") {
        reflection->SetUInt32(message, field, namespace_id_);
      } else if (field->name() == "session_id") {
        reflection->SetString(message, field, std::string(session_->id()));
      } else if (field->name() == "public_id") {
        const std::vector<v1::SessionInfo> sessions = server_.server().sessions().List();
        if (!sessions.empty()) {
          reflection->SetString(message, field, sessions.front().public_id());
        }
      } else if (field->name() == "lease_id") {
        reflection->SetString(message, field, lease_.id());
      } else if (field->name() == "grant_id") {
        reflection->SetString(message, field, grant_id_);
      } else if (field->name() == "lease_ids") {
        // The others stay what they are.
        reflection->SetRepeatedString(message, field, 0, lease_.id());
      } else if (field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE && !field->is_map()) {
        found |= SetIds(field->is_repeated() ? reflection->MutableRepeatedMessage(message, field, 0)
                                             : reflection->MutableMessage(message, field));
        continue;
      } else {
        continue;
      }
      found = true;
    }
    return found;
  }

  // What calls have held goes soon after them.
  void AwaitNothingHeld() {
    const absl::Time deadline = absl::Now() + kTestTimeout;
    const auto held = [this] {
      const cachestore::StoreStats stats = server_.store().stats();
      return stats.pinned_blocks + stats.writing_blocks;
    };
    while (held() > 0) {
      CHECK(absl::Now() < deadline);
      std::this_thread::yield();
    }
  }

  // Sends the message, to Put twice, and reads what comes.
  static void Call(const Method& method, const std::string& message) {
    const bool is_endless = method.name == "Cache/OpenSession" || method.name == "Cache/Watch";
    const grpc::internal::RpcMethod rpc(method.path.c_str(),
                                        grpc::internal::RpcMethod::BIDI_STREAMING);
    grpc::ClientContext context;
    SetTimeout(is_endless ? kShortPatience : kPatience, &context);
    using Factory = grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>;
    const std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> call(
        Factory::Create(method.channel.get(), rpc, &context));
    const grpc::Slice slice(message);
    const grpc::ByteBuffer buffer(&slice, 1);
    if (call->Write(buffer) && method.name == "Cache/Put") call->Write(buffer);
    call->WritesDone();
    grpc::ByteBuffer answer;
    while (call->Read(&answer)) {
      if (is_endless) context.TryCancel();
    }
    // What gRPC answers when a handler throws.
    CHECK(call->Finish().error_code() != grpc::StatusCode::UNKNOWN);
  }

  static constexpr int64_t kBlocks = 2;

  TestServer server_;
  TestServer modelless_;
  const std::unique_ptr<v1::Cache::Stub> stub_;
  const TempFolder recordings_;
  uint32_t namespace_id_ = 0;
  int64_t block_bytes_ = 0;
  std::vector<Method> methods_;
  int64_t num_inputs_ = 0;
  bool shared_ = false;  // the session has the arena
  std::unique_ptr<CacheSession> session_;
  Lease lease_;
  std::string grant_id_;
};

}  // namespace
}  // namespace reprise::api

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static google::protobuf::LogSilencer silencer;  // protobuf logs every text that is not UTF-8
  static auto* const target = new reprise::api::Target;
  target->Run(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
