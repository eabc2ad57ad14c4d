#include "api/cli/message_json.h"

#include <google/protobuf/util/json_util.h>

#include "absl/strings/escaping.h"

namespace reprise::api {

std::string ToJsonLine(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  // Fails for messages alone that JSON cannot hold; ours it can.
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  return json;
}

std::string Hex(absl::string_view bytes) { return absl::BytesToHexString(bytes); }

}  // namespace reprise::api
