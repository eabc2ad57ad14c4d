// Every RPC, with random and damaged messages, against a live server in this process: it never
// crashes, keeps nothing pinned, and takes no more memory than its limits say.
//
// An input is a line with the method ("Cache/Match") and a message; for Cache/Import, a file. A
// line that names none stands for some method all the same.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/sync_stream.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "reprise/v1/admin.pb.h"
#include "tests/api/test_server.h"

namespace reprise::api {
namespace {

namespace pb = ::google::protobuf;

// Long enough for any answer, and for the first one of a stream that has no end.
constexpr absl::Duration kPatience = absl::Milliseconds(200);
constexpr absl::Duration kShortPatience = absl::Milliseconds(5);
constexpr char kImport[] = "Cache/Import";
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
      : server_({.ram_bytes = 4 << 20, .disk_bytes = 4 << 20, .admin = true}),
        modelless_({.ram_bytes = 4 << 20, .disk_bytes = 0, .max_positions = 0}) {
    const auto opened = server_.cache().OpenNamespace(TestIdentity(), kTestTimeout);
    CHECK(opened.ok());
    namespace_id_ = opened->namespace_id();
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
    // As it is, and, where it names a namespace, in one that is there.
    Call(*method, message);
    const std::string in_namespace = InOpenNamespace(*method, message);
    if (in_namespace != message) Call(*method, in_namespace);
    if (++num_inputs_ % 64 != 0) return;
    CHECK(ResidentBytes() < kMaxResidentBytes);
    CHECK(server_.store().CheckIntegrity().ok());
    CHECK(modelless_.store().CheckIntegrity().ok());
    CHECK(server_.cache().Match(namespace_id_, TestTokens(1), kTestTimeout).ok());
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

  // The same message with the id of the open namespace wherever it names one; as it was, if it
  // names none.
  std::string InOpenNamespace(const Method& method, const std::string& bytes) const {
    const std::unique_ptr<pb::Message> message(
        pb::MessageFactory::generated_factory()->GetPrototype(method.input)->New());
    if (!message->ParsePartialFromString(bytes) || !SetNamespace(message.get())) return bytes;
    return message->SerializePartialAsString();
  }

  // Whether there was an id to set.
  bool SetNamespace(pb::Message* message) const {
    bool found = false;
    std::vector<const pb::FieldDescriptor*> fields;
    message->GetReflection()->ListFields(*message, &fields);
    for (const pb::FieldDescriptor* field : fields) {
      if (field->name() == "namespace_id") {
        message->GetReflection()->SetUInt32(message, field, namespace_id_);
        found = true;
      } else if (field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE &&
                 !field->is_repeated()) {
        found |= SetNamespace(message->GetReflection()->MutableMessage(message, field));
      }
    }
    return found;
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

  TestServer server_;
  TestServer modelless_;
  uint32_t namespace_id_ = 0;
  std::vector<Method> methods_;
  int64_t num_inputs_ = 0;
};

}  // namespace
}  // namespace reprise::api

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static google::protobuf::LogSilencer silencer;  // protobuf logs every text that is not UTF-8
  static auto* const target = new reprise::api::Target;
  target->Run(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
