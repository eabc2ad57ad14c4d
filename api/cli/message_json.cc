#include "api/cli/message_json.h"

#include <google/protobuf/descriptor.h>

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "cachestore/base/check.h"

namespace reprise::api {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Json = nlohmann::ordered_json;

Json ToJson(const Message& message);

// The value of a field, of a repeated one its element `i`.
Json ValueOf(const Message& message, const FieldDescriptor* field, int i) {
  const google::protobuf::Reflection& in = *message.GetReflection();
  const bool many = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return many ? in.GetRepeatedInt32(message, field, i) : in.GetInt32(message, field);
    case FieldDescriptor::CPPTYPE_INT64:
      return many ? in.GetRepeatedInt64(message, field, i) : in.GetInt64(message, field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return many ? in.GetRepeatedUInt32(message, field, i) : in.GetUInt32(message, field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return many ? in.GetRepeatedUInt64(message, field, i) : in.GetUInt64(message, field);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return many ? in.GetRepeatedFloat(message, field, i) : in.GetFloat(message, field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return many ? in.GetRepeatedDouble(message, field, i) : in.GetDouble(message, field);
    case FieldDescriptor::CPPTYPE_BOOL:
      return many ? in.GetRepeatedBool(message, field, i) : in.GetBool(message, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return (many ? in.GetRepeatedEnum(message, field, i) : in.GetEnum(message, field))->name();
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string text =
          many ? in.GetRepeatedString(message, field, i) : in.GetString(message, field);
      return field->type() == FieldDescriptor::TYPE_BYTES ? Hex(text) : text;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  return ToJson(many ? in.GetRepeatedMessage(message, field, i) : in.GetMessage(message, field));
}

Json ToJson(const Message& message) {
  const google::protobuf::Descriptor& fields = *message.GetDescriptor();
  const google::protobuf::Reflection& in = *message.GetReflection();
  Json json = Json::object();
  for (int f = 0; f < fields.field_count(); ++f) {
    const FieldDescriptor* field = fields.field(f);
    CHECK(!field->is_map());
    if (field->is_repeated()) {
      Json& values = json[field->name()] = Json::array();
      for (int i = 0; i < in.FieldSize(message, field); ++i) {
        values.push_back(ValueOf(message, field, i));
      }
    } else if (!field->has_presence() || in.HasField(message, field)) {
      json[field->name()] = ValueOf(message, field, 0);
    }
  }
  return json;
}

}  // namespace

std::string ToJsonLine(const Message& message) {
  return ToJson(message).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string Hex(absl::string_view bytes) { return absl::BytesToHexString(bytes); }

}  // namespace reprise::api
