// OldApi: a client that knows of the API only what an older proto file says, read at run time as
// protoc's descriptors. Its messages are dynamic, its calls generic: nothing of it comes from
// today's files.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/text_format.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "api/client/channel.h"
#include "cachestore/base/check.h"

namespace reprise::api {

using OldMessage = std::unique_ptr<google::protobuf::Message>;

class OldApi {
 public:
  // Knows what `path`, a file of descriptors, says.
  explicit OldApi(const std::string& path) {
    google::protobuf::FileDescriptorSet set;
    std::ifstream stream(path, std::ios::binary);
    CHECK(set.ParseFromIstream(&stream) && set.file_size() == 1);
    file_ = pool_.BuildFile(set.file(0));
    CHECK(file_ != nullptr);
  }

  const google::protobuf::FileDescriptor& file() const { return *file_; }

  // A message of the type `name` with the fields of `text` (text format).
  OldMessage New(const std::string& name, const std::string& text = "") {
    const auto* type = file_->FindMessageTypeByName(name);
    CHECK(type != nullptr);
    OldMessage message(factory_.GetPrototype(type)->New());
    CHECK(google::protobuf::TextFormat::ParseFromString(text, message.get()));
    return message;
  }

  // Calls `method` ("Cache.Match") at `address` with `requests`; what comes back must end with OK.
  std::vector<OldMessage> Call(const std::string& address, const std::string& method,
                               const std::vector<OldMessage>& requests) {
    const auto* rpc = pool_.FindMethodByName(absl::StrCat(file_->package(), ".", method));
    CHECK(rpc != nullptr);
    grpc::GenericStub stub(ConnectTo(address));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    grpc::CompletionQueue queue;
    const auto call = stub.PrepareCall(
        &context, absl::StrCat("/", rpc->service()->full_name(), "/", rpc->name()), &queue);
    call->StartCall(nullptr);
    EXPECT_TRUE(Next(queue));
    for (const OldMessage& request : requests) {
      grpc::Slice slice(request->SerializeAsString());
      call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
      if (!Next(queue)) break;
    }
    call->WritesDone(nullptr);
    Next(queue);
    std::vector<OldMessage> responses;
    for (grpc::ByteBuffer bytes; call->Read(&bytes, nullptr), Next(queue);) {
      OldMessage response(factory_.GetPrototype(rpc->output_type())->New());
      grpc::ProtoBufferReader reader(&bytes);
      EXPECT_TRUE(response->ParseFromZeroCopyStream(&reader));
      responses.push_back(std::move(response));
    }
    grpc::Status status;
    call->Finish(&status, nullptr);
    EXPECT_TRUE(Next(queue));
    EXPECT_TRUE(status.ok()) << method << ": " << status.error_message();
    return responses;
  }
  // The same with one request, given as text, and one response.
  OldMessage CallOne(const std::string& address, const std::string& method,
                     const std::string& request_type, const std::string& text) {
    std::vector<OldMessage> requests;
    requests.push_back(New(request_type, text));
    std::vector<OldMessage> responses = Call(address, method, requests);
    EXPECT_EQ(responses.size(), 1u) << method;
    return responses.empty() ? nullptr : std::move(responses[0]);
  }

 private:
  static bool Next(grpc::CompletionQueue& queue) {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  }

  google::protobuf::DescriptorPool pool_;
  google::protobuf::DynamicMessageFactory factory_;
  const google::protobuf::FileDescriptor* file_ = nullptr;
};

// Fields of a message by their names.
inline const google::protobuf::FieldDescriptor* OldField(const google::protobuf::Message& message,
                                                         const std::string& name) {
  const auto* field = message.GetDescriptor()->FindFieldByName(name);
  CHECK(field != nullptr);
  return field;
}
inline int64_t OldInt(const google::protobuf::Message& message, const std::string& name) {
  const auto* field = OldField(message, name);
  if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_UINT32) {
    return message.GetReflection()->GetUInt32(message, field);
  }
  return message.GetReflection()->GetInt64(message, field);
}
inline std::string OldString(const google::protobuf::Message& message, const std::string& name) {
  return message.GetReflection()->GetString(message, OldField(message, name));
}

}  // namespace reprise::api
