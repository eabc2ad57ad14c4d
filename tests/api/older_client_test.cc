// A client of version 1.0 against today's server, and today's proto against the versions of it that
// are kept: fields are only ever added (api/README.md, "Versions").
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "reprise/v1/cache.pb.h"
#include "reprise/v1/inference.pb.h"
#include "tests/api/cache_service_fixture.h"
#include "tests/api/compat/old_api.h"

namespace reprise::api {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::ServiceDescriptor;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kVersion10[] = REPRISE_VERSION_1_0;  // what the first clients used
constexpr char kVersion11[] = REPRISE_VERSION_1_1;  // all services

// ---- Descriptors.

using Complaints = std::vector<std::string>;

std::string TypeOf(const FieldDescriptor& field) {
  std::string type = absl::StrCat(field.label(), " ", field.type_name());
  if (field.message_type() != nullptr)
    absl::StrAppend(&type, " ", field.message_type()->full_name());
  if (field.enum_type() != nullptr) absl::StrAppend(&type, " ", field.enum_type()->full_name());
  // A field that enters or leaves a oneof changes what setting it does.
  const auto* oneof = field.real_containing_oneof();
  return absl::StrCat(type, oneof == nullptr ? "" : absl::StrCat(" in ", oneof->name()),
                      field.has_presence() ? " with presence" : "");
}

void CompareEnums(const EnumDescriptor& before, const DescriptorPool& now, Complaints& complaints) {
  const EnumDescriptor* after = now.FindEnumTypeByName(before.full_name());
  for (int i = 0; i < before.value_count(); ++i) {
    const auto* same =
        after == nullptr ? nullptr : after->FindValueByNumber(before.value(i)->number());
    if (same == nullptr || same->name() != before.value(i)->name()) {
      complaints.push_back(absl::StrCat(before.value(i)->full_name(), " has changed"));
    }
  }
}

void CompareMessages(const Descriptor& before, const DescriptorPool& now, Complaints& complaints) {
  const Descriptor* after = now.FindMessageTypeByName(before.full_name());
  if (after == nullptr) {
    complaints.push_back(absl::StrCat(before.full_name(), " is gone"));
    return;
  }
  for (int i = 0; i < before.field_count(); ++i) {
    const FieldDescriptor& field = *before.field(i);
    const FieldDescriptor* same = after->FindFieldByNumber(field.number());
    if (same == nullptr || same->name() != field.name() || TypeOf(*same) != TypeOf(field)) {
      complaints.push_back(absl::StrCat(field.full_name(), " = ", field.number(), " has changed"));
    }
  }
  for (int i = 0; i < before.nested_type_count(); ++i) {
    CompareMessages(*before.nested_type(i), now, complaints);
  }
  for (int i = 0; i < before.enum_type_count(); ++i) {
    CompareEnums(*before.enum_type(i), now, complaints);
  }
}

void CompareServices(const ServiceDescriptor& before, const DescriptorPool& now,
                     Complaints& complaints) {
  for (int i = 0; i < before.method_count(); ++i) {
    const auto& method = *before.method(i);
    const auto* same = now.FindMethodByName(method.full_name());
    if (same == nullptr || same->input_type()->full_name() != method.input_type()->full_name() ||
        same->output_type()->full_name() != method.output_type()->full_name() ||
        same->client_streaming() != method.client_streaming() ||
        same->server_streaming() != method.server_streaming()) {
      complaints.push_back(absl::StrCat(method.full_name(), " has changed"));
    }
  }
}

// What of `before` a client that knows only it would not find in `now` as it was.
Complaints Changes(const FileDescriptor& before, const DescriptorPool& now) {
  Complaints complaints;
  for (int i = 0; i < before.message_type_count(); ++i) {
    CompareMessages(*before.message_type(i), now, complaints);
  }
  for (int i = 0; i < before.enum_type_count(); ++i) {
    CompareEnums(*before.enum_type(i), now, complaints);
  }
  for (int i = 0; i < before.service_count(); ++i) {
    CompareServices(*before.service(i), now, complaints);
  }
  return complaints;
}

const DescriptorPool& Today() { return *v1::MatchRequest::descriptor()->file()->pool(); }

TEST(CompatibilityTest, NothingThatIsKeptHasChanged) {
  const struct {
    const char* path;
    int messages;
    int services;
  } kept[] = {{kVersion10, 34, 2}, {kVersion11, 102, 3}};
  for (const auto& [path, messages, services] : kept) {
    const OldApi old(path);
    EXPECT_EQ(old.file().message_type_count(), messages);
    EXPECT_EQ(old.file().service_count(), services);
    const Complaints changes = Changes(old.file(), Today());
    EXPECT_THAT(changes, IsEmpty()) << absl::StrJoin(changes, "\n");
  }
}

// Every way to break a client is seen.
TEST(CompatibilityTest, ChangesAreSeen) {
  const OldApi old(kVersion11);
  google::protobuf::FileDescriptorProto file;
  old.file().CopyTo(&file);
  const auto message = [](google::protobuf::FileDescriptorProto& f, const std::string& name) {
    for (auto& m : *f.mutable_message_type()) {
      if (m.name() == name) return &m;
    }
    return static_cast<google::protobuf::DescriptorProto*>(nullptr);
  };
  const auto broken = [&](auto change) {
    google::protobuf::FileDescriptorProto changed = file;
    change(changed);
    DescriptorPool pool;
    const FileDescriptor* built = pool.BuildFile(changed);
    CHECK(built != nullptr);
    return Changes(old.file(), pool);
  };
  int fields = 0;
  for (int m = 0; m < file.message_type_size(); ++m) {
    for (int i = 0; i < file.message_type(m).field_size(); ++i) {
      const auto renumber = [&](auto& f) {
        f.mutable_message_type(m)->mutable_field(i)->set_number(9999);
      };
      EXPECT_THAT(broken(renumber), SizeIs(1)) << file.message_type(m).field(i).name();
      ++fields;
    }
  }
  EXPECT_GT(fields, 300);
  EXPECT_THAT(broken([](auto&) {}), IsEmpty());
  EXPECT_THAT(
      broken([&](auto& f) { message(f, "MatchRequest")->mutable_field(0)->set_number(99); }),
      Not(IsEmpty()));
  EXPECT_THAT(broken([&](auto& f) {
                message(f, "MatchResponse")
                    ->mutable_field(0)
                    ->set_type(google::protobuf::FieldDescriptorProto::TYPE_SINT64);
              }),
              Not(IsEmpty()));
  EXPECT_THAT(broken([&](auto& f) {
                message(f, "MatchRequest")
                    ->mutable_field(0)
                    ->set_label(google::protobuf::FieldDescriptorProto::LABEL_REPEATED);
              }),
              Not(IsEmpty()));
  EXPECT_THAT(broken([&](auto& f) { message(f, "MatchResponse")->mutable_field()->RemoveLast(); }),
              Not(IsEmpty()));
  EXPECT_THAT(broken([](auto& f) { f.mutable_enum_type(0)->mutable_value(1)->set_number(77); }),
              Not(IsEmpty()));
  for (int s = 0; s < file.service_size(); ++s) {
    EXPECT_THAT(broken([s](auto& f) { f.mutable_service(s)->mutable_method()->RemoveLast(); }),
                Not(IsEmpty()));
    EXPECT_THAT(broken([s](auto& f) {
                  auto& method = *f.mutable_service(s)->mutable_method(0);
                  method.set_server_streaming(!method.server_streaming());
                }),
                Not(IsEmpty()));
  }
}

// ---- Calls.

constexpr char kIdentity[] = R"(
  identity {
    model_digest: "model-a" tokenizer_digest: "tokenizer-a" adapter_digest: "none"
    layout { num_layers: 2 num_kv_heads: 1 head_dim: 8 block_tokens: 8 dtype: DTYPE_FP16 }
    kv_scales: "none" position_scheme: "rope theta=10000"
    tensor_parallel_size: 1 pipeline_parallel_size: 1 tenant: "default"
  }
  hash_scheme: "reprise-xxh3-128-v1")";

class OlderClientTest : public ::testing::Test {
 protected:
  OldMessage Call(const std::string& method, const std::string& text = "") {
    const size_t name = method.find('.') + 1;
    return old_.CallOne(server_.address(), method, absl::StrCat(method.substr(name), "Request"),
                        text);
  }
  // The token ids of `num_blocks` blocks as fields of a message.
  static std::string TokensText(const std::string& field, int64_t first_block, int64_t num_blocks) {
    const std::vector<uint32_t> tokens = TestTokens(first_block + num_blocks);
    return absl::StrCat(
        field, ": [",
        absl::StrJoin(tokens.begin() + first_block * kTestBlockTokens, tokens.end(), ","), "] ");
  }
  int64_t Open() { return OldInt(*Call("Cache.OpenNamespace", kIdentity), "namespace_id"); }

  TestServer server_{TestServer::Options{}};
  OldApi old_{kVersion10};
};

TEST_F(OlderClientTest, BlocksAreStoredFoundMovedAndTakenOut) {
  const int64_t ns = Open();
  const std::vector<std::string> payloads = TestPayloads(3, 512);
  std::vector<OldMessage> puts;
  for (int64_t i = 0; i < 3; ++i) {
    const std::string& payload = payloads[static_cast<size_t>(i)];
    puts.push_back(
        old_.New("PutRequest",
                 absl::StrCat(i == 0 ? absl::StrCat("namespace_id: ", ns, " ") : "",
                              TokensText("token_ids", i, 1), "payload: \"",
                              absl::CHexEscape(payload), "\" payload_xxh3: ", Checksum(payload))));
  }
  const std::vector<OldMessage> put = old_.Call(server_.address(), "Cache.Put", puts);
  ASSERT_EQ(put.size(), 1u);
  EXPECT_EQ(OldInt(*put[0], "stored_blocks"), 3) << put[0]->DebugString();

  const std::string prompt = absl::StrCat("namespace_id: ", ns, " ", TokensText("token_ids", 0, 4));
  EXPECT_EQ(OldInt(*Call("Cache.Match", prompt), "ram_blocks"), 3);
  EXPECT_EQ(OldInt(*Call("Cache.Match", prompt), "matched_tokens"), 3 * kTestBlockTokens);
  EXPECT_EQ(OldInt(*Call("Cache.Demote"), "demoted_blocks"), 3);
  EXPECT_EQ(OldInt(*Call("Cache.Match", prompt), "disk_blocks"), 3);

  std::vector<OldMessage> gets;
  gets.push_back(old_.New("GetRequest", prompt));
  const std::vector<OldMessage> got = old_.Call(server_.address(), "Cache.Get", gets);
  ASSERT_EQ(got.size(), 3u);
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(OldInt(*got[i], "block_index"), static_cast<int64_t>(i));
    EXPECT_EQ(OldString(*got[i], "payload"), payloads[i]);
    EXPECT_EQ(OldString(*got[i], "tier"), "disk");
  }
  EXPECT_THAT(Call("Cache.Stats")->DebugString(), ::testing::HasSubstr("hit_disk_tokens"));
  EXPECT_EQ(OldInt(*Call("Cache.Invalidate", absl::StrCat("namespace_id: ", ns)), "disk_blocks"),
            3);
  EXPECT_EQ(OldInt(*Call("Cache.Match", prompt), "matched_tokens"), 0);
}

TEST_F(OlderClientTest, TextIsGenerated) {
  EXPECT_EQ(OldString(*Call("Inference.GetModel"), "name"), "tiny");
  EXPECT_GT(Call("Inference.Tokenize", "text: \"once upon\"")->ByteSizeLong(), 0u);
  std::vector<OldMessage> requests;
  requests.push_back(old_.New(
      "GenerateRequest", "text: \"once upon a time\" stop { max_new_tokens: 5 ignore_eos: true }"));
  const std::vector<OldMessage> events =
      old_.Call(server_.address(), "Inference.Generate", requests);
  ASSERT_EQ(events.size(), 6u);
  const auto* reflection = events.back()->GetReflection();
  const auto& summary = reflection->GetMessage(*events.back(), OldField(*events.back(), "summary"));
  EXPECT_EQ(OldInt(summary, "new_tokens"), 5);
}

}  // namespace
}  // namespace reprise::api
