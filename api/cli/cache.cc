#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "api/cli/cache_commands.h"
#include "api/cli/cache_target.h"
#include "api/cli/commands.h"
#include "api/cli/table.h"
#include "api/cli/text_file.h"
#include "api/client/cache_client.h"
#include "api/identity_codec.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

struct StatFlags {
  ServerFlags server;
  bool json = false;
};

absl::Status RunStat(const StatFlags& flags) {
  ASSIGN_OR_RETURN(const auto client, Connect<CacheClient>(flags.server));
  ASSIGN_OR_RETURN(const v1::StatsResponse stats, client->Stats(flags.server.timeout()));
  const std::map<std::string, int64_t> store(stats.store().begin(), stats.store().end());
  const std::map<std::string, int64_t> engine(stats.engine().begin(), stats.engine().end());
  if (flags.json) {
    std::cout << nlohmann::json{{"store", store}, {"engine", engine}}.dump() << std::endl;
    return absl::OkStatus();
  }
  Table table({"of", "what", "value", "size"});
  for (const auto& [part, values] : {std::pair("store", store), std::pair("engine", engine)}) {
    for (const auto& [name, value] : values) {
      table.AddRow({part, name, WithThousands(value),
                    absl::EndsWith(name, "_bytes") ? BytesText(value) : ""});
    }
  }
  table.Print(std::cout);
  return absl::OkStatus();
}

struct MatchFlags {
  ServerFlags server;
  NamespaceFlags ns;
  PromptFlags prompt;
};

absl::Status RunMatch(const MatchFlags& flags) {
  ASSIGN_OR_RETURN(const Prompt prompt, PromptOf(flags.server, flags.prompt));
  ASSIGN_OR_RETURN(const auto client, Connect<CacheClient>(flags.server));
  ASSIGN_OR_RETURN(const OpenedNamespace ns, OpenNamespaceOf(*client, flags.server, flags.ns));
  ASSIGN_OR_RETURN(const v1::MatchResponse match,
                   client->Match(ns.id, prompt.All(), flags.server.timeout()));
  const int64_t absent = prompt.num_blocks(ns.block_tokens) - match.gpu_blocks() -
                         match.ram_blocks() - match.disk_blocks();
  Table table({"tier", "blocks", "tokens", "bytes"});
  const auto add_row = [&](const std::string& tier, int64_t blocks) {
    table.AddRow({tier, WithThousands(blocks), WithThousands(blocks * ns.block_tokens),
                  WithThousands(blocks * ns.block_bytes)});
  };
  if (match.gpu_blocks() > 0) add_row("gpu", match.gpu_blocks());
  add_row("ram", match.ram_blocks());
  add_row("disk", match.disk_blocks());
  add_row("not cached", absent);
  table.Print(std::cout);
  return absl::OkStatus();
}

struct PutFlags {
  ServerFlags server;
  NamespaceFlags ns;
  PromptFlags prompt;
  std::vector<std::string> payload_files;
  int64_t skip_blocks = 0;
};

absl::Status RunPut(const PutFlags& flags) {
  ASSIGN_OR_RETURN(const Prompt prompt, PromptOf(flags.server, flags.prompt));
  ASSIGN_OR_RETURN(const auto client, Connect<CacheClient>(flags.server));
  ASSIGN_OR_RETURN(const OpenedNamespace ns, OpenNamespaceOf(*client, flags.server, flags.ns));
  const int64_t num_blocks = static_cast<int64_t>(flags.payload_files.size());
  const int64_t needed = flags.skip_blocks + num_blocks;
  if (flags.skip_blocks < 0 || prompt.num_blocks(ns.block_tokens) < needed) {
    return absl::InvalidArgumentError(
        absl::StrCat(flags.skip_blocks, " blocks to skip and ", num_blocks, " payloads need ",
                     needed, " full blocks; there are ", prompt.num_blocks(ns.block_tokens)));
  }
  std::vector<std::string> payloads;
  std::vector<PutBlock> blocks;
  payloads.reserve(flags.payload_files.size());
  for (int64_t i = 0; i < num_blocks; ++i) {
    ASSIGN_OR_RETURN(std::string payload, ReadFile(flags.payload_files[static_cast<size_t>(i)]));
    payloads.push_back(std::move(payload));
    blocks.push_back({prompt.Blocks(flags.skip_blocks + i, 1, ns.block_tokens), payloads.back()});
  }
  const auto prefix = prompt.Blocks(0, flags.skip_blocks, ns.block_tokens);
  ASSIGN_OR_RETURN(const v1::PutResponse put,
                   client->Put(ns.id, prefix, blocks, flags.server.timeout()));
  std::cout << "stored " << WithThousands(put.stored_blocks()) << " of " << num_blocks << " blocks"
            << std::endl;
  if (put.rejected_blocks() == 0) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the server rejected ", put.reject_reason()));
}

struct GetFlags {
  ServerFlags server;
  NamespaceFlags ns;
  PromptFlags prompt;
  std::string out;
  int64_t first_block = 0;
};

absl::Status RunGet(const GetFlags& flags) {
  ASSIGN_OR_RETURN(const Prompt prompt, PromptOf(flags.server, flags.prompt));
  std::error_code error;
  std::filesystem::create_directories(flags.out, error);
  if (error) return absl::InternalError(absl::StrCat(flags.out, ": ", error.message()));
  ASSIGN_OR_RETURN(const auto client, Connect<CacheClient>(flags.server));
  ASSIGN_OR_RETURN(const OpenedNamespace ns, OpenNamespaceOf(*client, flags.server, flags.ns));
  Table table({"block", "tier", "bytes", "xxh3", "file"});
  absl::Status written;
  const auto on_block = [&](const v1::GetResponse& block) {
    const std::string path = absl::StrFormat("%s/block-%06d.kv", flags.out, block.block_index());
    written.Update(WriteFile(path, block.payload()));
    table.AddRow({WithThousands(block.block_index()), block.tier(),
                  WithThousands(static_cast<int64_t>(block.payload().size())),
                  absl::StrFormat("%016x", block.payload_xxh3()), path});
  };
  ASSIGN_OR_RETURN(const int64_t num_blocks, client->Get(ns.id, prompt.All(), flags.first_block,
                                                         flags.server.timeout(), on_block));
  RETURN_IF_ERROR(written);
  if (num_blocks > 0) table.Print(std::cout);
  std::cout << "got " << WithThousands(num_blocks) << " blocks" << std::endl;
  return absl::OkStatus();
}

absl::Status RunDemote(const ServerFlags& flags) {
  ASSIGN_OR_RETURN(const auto client, Connect<CacheClient>(flags));
  ASSIGN_OR_RETURN(const int64_t demoted, client->Demote(flags.timeout()));
  std::cout << "moved " << WithThousands(demoted) << " blocks from RAM to disk" << std::endl;
  return absl::OkStatus();
}

struct InvalidateFlags {
  ServerFlags server;
  NamespaceFlags ns;
  PromptFlags prompt;
  std::string scope;
};

absl::StatusOr<v1::InvalidateRequest> InvalidateRequestOf(CacheClient& client,
                                                          const InvalidateFlags& flags) {
  v1::InvalidateRequest request;
  if (flags.scope == "all") {
    request.set_all(true);
    return request;
  }
  if (flags.scope == "tenant") {
    if (flags.ns.tenant.empty()) return absl::InvalidArgumentError("--tenant is needed");
    request.set_tenant(flags.ns.tenant);
    return request;
  }
  ASSIGN_OR_RETURN(const OpenedNamespace ns, OpenNamespaceOf(client, flags.server, flags.ns));
  if (flags.scope == "namespace") {
    request.set_namespace_id(ns.id);
    return request;
  }
  ASSIGN_OR_RETURN(const Prompt prompt, PromptOf(flags.server, flags.prompt));
  *request.mutable_prefix() = prompt.PrefixIn(ns);
  return request;
}

absl::Status RunInvalidate(const InvalidateFlags& flags) {
  ASSIGN_OR_RETURN(const auto client, Connect<CacheClient>(flags.server));
  ASSIGN_OR_RETURN(const v1::InvalidateRequest request, InvalidateRequestOf(*client, flags));
  ASSIGN_OR_RETURN(const v1::InvalidateResponse taken,
                   client->Invalidate(request, flags.server.timeout()));
  if (taken.gpu_blocks() > 0) {
    std::cout << "took " << WithThousands(taken.gpu_blocks()) << " blocks from the GPU"
              << std::endl;
  }
  std::cout << "took " << WithThousands(taken.ram_blocks()) << " blocks from RAM ("
            << WithThousands(taken.pinned_blocks()) << " still being read) and "
            << WithThousands(taken.disk_blocks()) << " from disk" << std::endl;
  return absl::OkStatus();
}

struct IdentityFlags {
  ServerFlags server;
  NamespaceFlags ns;
};

absl::Status RunIdentity(const IdentityFlags& flags) {
  ASSIGN_OR_RETURN(const v1::NamespaceIdentity identity, IdentityOf(flags.server, flags.ns));
  std::cout << ToJson(identity) << std::flush;
  return absl::OkStatus();
}

void AddStat(FlagSet& cache) {
  FlagSet& command = cache.AddCommand("stat", "counters and gauges of the store and the engine");
  const auto flags = std::make_shared<StatFlags>();
  AddServerFlags(command, &flags->server);
  command.AddSwitch("json", &flags->json, "print one JSON object instead of a table");
  command.SetExamples("Examples:\n  reprise cache stat\n  reprise cache stat --json\n");
  command.SetAction([flags] { return ExitCode("cache stat", flags->server, RunStat(*flags)); });
}

void AddMatch(FlagSet& cache) {
  FlagSet& command = cache.AddCommand("match", "how much of a prompt is cached, by tier");
  const auto flags = std::make_shared<MatchFlags>();
  AddServerFlags(command, &flags->server);
  AddNamespaceFlags(command, &flags->ns);
  AddPromptFlags(command, &flags->prompt);
  RequirePromptFlags(command);
  command.SetExamples(
      "Examples:\n"
      "  reprise cache match --text-file prompt.txt\n"
      "  reprise cache match --namespace-json ns.json --tokens-file ids.txt\n");
  command.SetAction([flags] { return ExitCode("cache match", flags->server, RunMatch(*flags)); });
}

void AddPut(FlagSet& cache) {
  FlagSet& command = cache.AddCommand("put", "store the KV of blocks");
  const auto flags = std::make_shared<PutFlags>();
  AddServerFlags(command, &flags->server);
  AddNamespaceFlags(command, &flags->ns);
  AddPromptFlags(command, &flags->prompt);
  RequirePromptFlags(command);
  command.Add("payload", &flags->payload_files, "FILE...",
              "one file per block, in order, each exactly one block long: "
              "[layer][K, V][kv_head][token][head_dim], little endian");
  command.Require("payload");
  command.Add("skip-blocks", &flags->skip_blocks, "N",
              "the first N blocks of the tokens are stored already; payloads begin behind them");
  command.AtLeast("skip-blocks", 0);
  command.SetExamples(
      "Examples:\n"
      "  reprise cache put --namespace-json ns.json --tokens-file ids.txt --payload 0.kv 1.kv\n"
      "  reprise cache put --namespace-json ns.json --tokens-file ids.txt --skip-blocks 2 \\\n"
      "    --payload 2.kv\n");
  command.SetAction([flags] { return ExitCode("cache put", flags->server, RunPut(*flags)); });
}

void AddGet(FlagSet& cache) {
  FlagSet& command = cache.AddCommand("get", "write the cached blocks of a prompt to files");
  const auto flags = std::make_shared<GetFlags>();
  AddServerFlags(command, &flags->server);
  AddNamespaceFlags(command, &flags->ns);
  AddPromptFlags(command, &flags->prompt);
  RequirePromptFlags(command);
  command.Add("out", &flags->out, "DIR", "folder for block-000000.kv and so on, made when missing");
  command.Require("out");
  command.Add("first-block", &flags->first_block, "N", "leave out the blocks before this one");
  command.AtLeast("first-block", 0);
  command.SetExamples(
      "Examples:\n"
      "  reprise cache get --text-file prompt.txt --out blocks\n"
      "  reprise cache get --namespace-json ns.json --tokens-file ids.txt --first-block 4 --out "
      "b\n");
  command.SetAction([flags] { return ExitCode("cache get", flags->server, RunGet(*flags)); });
}

void AddDemote(FlagSet& cache) {
  FlagSet& command = cache.AddCommand("demote", "move every idle block from RAM to disk, durably");
  const auto flags = std::make_shared<ServerFlags>();
  AddServerFlags(command, flags.get());
  command.SetExamples("Examples:\n  reprise cache demote --server 127.0.0.1:50051\n");
  command.SetAction([flags] { return ExitCode("cache demote", *flags, RunDemote(*flags)); });
}

void AddInvalidate(FlagSet& cache) {
  FlagSet& command =
      cache.AddCommand("invalidate", "take blocks out of all tiers for good, durably");
  const auto flags = std::make_shared<InvalidateFlags>();
  AddServerFlags(command, &flags->server);
  AddNamespaceFlags(command, &flags->ns);
  AddPromptFlags(command, &flags->prompt);
  command.Add("scope", &flags->scope, "NAME",
              "all; tenant (of --tenant); namespace; prefix (the last full block of the tokens, "
              "and all behind it)");
  command.Require("scope");
  command.Choose("scope", {"all", "tenant", "namespace", "prefix"});
  command.SetExamples(
      "Examples:\n"
      "  reprise cache invalidate --scope all\n"
      "  reprise cache invalidate --scope tenant --tenant alice\n"
      "  reprise cache invalidate --scope namespace --namespace-json ns.json\n"
      "  reprise cache invalidate --scope prefix --text-file prompt.txt\n");
  command.SetAction(
      [flags] { return ExitCode("cache invalidate", flags->server, RunInvalidate(*flags)); });
}

void AddIdentity(FlagSet& cache) {
  FlagSet& command =
      cache.AddCommand("identity", "print the served model's namespace identity as JSON");
  const auto flags = std::make_shared<IdentityFlags>();
  AddServerFlags(command, &flags->server);
  AddNamespaceFlags(command, &flags->ns);
  command.SetExamples(
      "Every field is required, but salt may be empty; adapter_digest and kv_scales are \"none\" "
      "when\n"
      "there is nothing to say. Other engines write such a file themselves.\n\n"
      "Examples:\n"
      "  reprise cache identity > ns.json\n"
      "  reprise cache identity --tenant alice\n");
  command.SetAction(
      [flags] { return ExitCode("cache identity", flags->server, RunIdentity(*flags)); });
}

}  // namespace

void AddCacheCommand(FlagSet& program) {
  FlagSet& cache =
      program.AddCommand("cache", "look into the KV cache of a server, fill or empty it");
  cache.BeginGroup("Look into it");
  AddTop(cache);
  AddStat(cache);
  AddUsage(cache);
  AddWhatIf(cache);
  AddList(cache);
  AddWatch(cache);
  cache.BeginGroup("Ask about a prompt");
  AddMatch(cache);
  AddExplain(cache);
  AddIdentity(cache);
  cache.BeginGroup("Fill it, and take blocks along");
  AddWarm(cache);
  AddPut(cache);
  AddGet(cache);
  AddExport(cache);
  AddImport(cache);
  cache.BeginGroup("Operate it");
  AddInvalidate(cache);
  AddDemote(cache);
  AddVerify(cache);
  AddSessions(cache);
  AddRecord(cache);
}

}  // namespace reprise::api
