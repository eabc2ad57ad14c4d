#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "api/cli/cache_commands.h"
#include "api/cli/cache_target.h"
#include "api/cli/commands.h"
#include "api/cli/message_json.h"
#include "api/cli/table.h"
#include "api/client/cache_client.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

struct ExplainFlags {
  ServerFlags server;
  NamespaceFlags ns;
  PromptFlags prompt;
  bool json = false;
};

// BLOCK_VERDICT_NEVER_STORED -> "never stored".
std::string VerdictText(v1::BlockVerdict verdict) {
  const std::string name = v1::BlockVerdict_Name(verdict);
  return absl::StrReplaceAll(absl::AsciiStrToLower(absl::StripPrefix(name, "BLOCK_VERDICT_")),
                             {{"_", " "}});
}

absl::Status RunExplain(const ExplainFlags& flags) {
  ASSIGN_OR_RETURN(const Prompt prompt, PromptOf(flags.server, flags.prompt));
  ASSIGN_OR_RETURN(const auto client, Connect<CacheClient>(flags.server));
  ASSIGN_OR_RETURN(const OpenedNamespace ns, OpenNamespaceOf(*client, flags.server, flags.ns));
  ASSIGN_OR_RETURN(const v1::ExplainResponse explained,
                   client->Explain(ns.id, prompt.All(), flags.server.timeout()));
  if (flags.json) {
    std::cout << ToJsonLine(explained) << std::endl;
    return absl::OkStatus();
  }
  Table table({"block", "tokens", "verdict", "seconds ago"});
  for (const v1::ExplainedBlock& block : explained.blocks()) {
    table.AddRow({WithThousands(block.block_index()),
                  WithThousands(block.block_index() * ns.block_tokens),
                  VerdictText(block.verdict()),
                  block.seconds_ago() > 0 ? absl::StrFormat("%.1f", block.seconds_ago()) : ""});
  }
  table.Print(std::cout);
  std::cout << explained.summary() << std::endl;
  return absl::OkStatus();
}

struct ListFlags {
  ServerFlags server;
  NamespaceFlags ns;
  bool one_namespace = false;
  bool with_tokens = false;
  bool json = false;
  int64_t limit = 1000;
};

absl::Status RunList(const ListFlags& flags) {
  ASSIGN_OR_RETURN(const auto client, Connect<CacheClient>(flags.server));
  v1::ListRequest request;
  if (flags.one_namespace || !flags.ns.json_file.empty()) {
    ASSIGN_OR_RETURN(const OpenedNamespace ns, OpenNamespaceOf(*client, flags.server, flags.ns));
    request.set_namespace_id(ns.id);
  }
  request.set_with_token_ids(flags.with_tokens);
  Table table({"tenant", "model", "depth", "key", "parent", "bytes", "tiers", "pins"});
  int64_t listed = 0;
  bool has_more = false;
  do {
    request.set_page_size(static_cast<int32_t>(std::min<int64_t>(1000, flags.limit - listed)));
    ASSIGN_OR_RETURN(const v1::ListResponse page, client->List(request, flags.server.timeout()));
    for (const v1::ListedBlock& block : page.blocks()) {
      if (listed == flags.limit) {  // a page may have a few more than it was asked for
        has_more = true;
        break;
      }
      ++listed;
      if (flags.json) {
        std::cout << ToJsonLine(block) << "\n";
        continue;
      }
      table.AddRow({block.in_namespace().tenant(),
                    block.in_namespace().model_digest().substr(0, 16), WithThousands(block.depth()),
                    Hex(block.key()), Hex(block.parent_key()), WithThousands(block.bytes()),
                    absl::StrJoin(block.tiers(), ","), WithThousands(block.pins())});
    }
    request.set_cursor(page.cursor());
  } while (!request.cursor().empty() && listed < flags.limit);
  has_more |= !request.cursor().empty();
  if (!flags.json) {
    table.Print(std::cout);
    std::cout << WithThousands(listed) << " blocks"
              << (has_more ? "; there are more (--limit)" : "") << "\n";
  }
  std::cout << std::flush;
  return absl::OkStatus();
}

struct UsageFlags {
  ServerFlags server;
  bool all_tenants = false;
  bool json = false;
};

absl::Status RunUsage(const UsageFlags& flags) {
  ASSIGN_OR_RETURN(const auto client, Connect<CacheClient>(flags.server));
  ASSIGN_OR_RETURN(const v1::UsageResponse usage,
                   client->Usage(flags.all_tenants, flags.server.timeout()));
  if (flags.json) {
    std::cout << ToJsonLine(usage) << std::endl;
    return absl::OkStatus();
  }
  Table table({"tenant", "model", "salt", "tier", "blocks", "bytes", "size"});
  const auto add = [&](const std::string& tenant, const std::string& model, const std::string& salt,
                       const auto& tiers) {
    for (const v1::TierUsage& tier : tiers) {
      table.AddRow({tenant, model.substr(0, 16), salt, tier.tier(), WithThousands(tier.blocks()),
                    WithThousands(tier.bytes()), BytesText(tier.bytes())});
    }
  };
  for (const v1::TenantUsage& tenant : usage.tenants()) {
    for (const v1::NamespaceUsage& ns : tenant.namespaces()) {
      add(tenant.tenant(), ns.name().model_digest(), ns.name().salt(), ns.tiers());
    }
    add(tenant.tenant(), "(all)", "", tenant.tiers());
    add(tenant.tenant(), "(quota)", "", tenant.quotas());
  }
  add("(all tenants)", "", "", usage.used());
  add("(budget)", "", "", usage.budgets());
  table.Print(std::cout);
  if (flags.all_tenants) {
    std::cout << WithThousands(usage.sessions()) << " sessions hold " << usage.leases()
              << " leases of " << BytesText(usage.leased_bytes()) << std::endl;
  }
  return absl::OkStatus();
}

}  // namespace

void AddExplain(FlagSet& cache) {
  FlagSet& command = cache.AddCommand("explain", "why a prompt hits or misses, block by block");
  const auto flags = std::make_shared<ExplainFlags>();
  AddServerFlags(command, &flags->server);
  AddNamespaceFlags(command, &flags->ns);
  AddPromptFlags(command, &flags->prompt);
  RequirePromptFlags(command);
  command.AddSwitch("json", &flags->json, "print one JSON object instead of a table");
  command.SetExamples(
      "Examples:\n"
      "  reprise cache explain --text-file prompt.txt\n"
      "  reprise cache explain --namespace-json ns.json --tokens-file ids.txt --json\n");
  command.SetAction(
      [flags] { return ExitCode("cache explain", flags->server, RunExplain(*flags)); });
}

void AddList(FlagSet& cache) {
  FlagSet& command = cache.AddCommand("ls", "list cached blocks");
  const auto flags = std::make_shared<ListFlags>();
  AddServerFlags(command, &flags->server);
  AddNamespaceFlags(command, &flags->ns);
  command.AddSwitch("one-namespace", &flags->one_namespace,
                    "of the named namespace alone; without it, all that the caller may see");
  command.AddSwitch("with-tokens", &flags->with_tokens, "with token ids (shown with --json)");
  command.Add("limit", &flags->limit, "N", "stop behind so many blocks");
  command.AtLeast("limit", 1);
  command.AddSwitch("json", &flags->json, "print one JSON object a block instead of a table");
  command.SetExamples(
      "Examples:\n"
      "  reprise cache ls --limit 20\n"
      "  reprise cache ls --one-namespace --tenant alice\n"
      "  reprise cache ls --namespace-json ns.json --with-tokens --json\n");
  command.SetAction([flags] { return ExitCode("cache ls", flags->server, RunList(*flags)); });
}

void AddUsage(FlagSet& cache) {
  FlagSet& command = cache.AddCommand("usage", "what namespaces and tenants take of each tier");
  const auto flags = std::make_shared<UsageFlags>();
  AddServerFlags(command, &flags->server);
  command.AddSwitch("all-tenants", &flags->all_tenants, "of every tenant; needs the role admin");
  command.AddSwitch("json", &flags->json, "print one JSON object instead of a table");
  command.SetExamples(
      "Examples:\n  reprise cache usage\n  reprise cache usage --all-tenants --json\n");
  command.SetAction([flags] { return ExitCode("cache usage", flags->server, RunUsage(*flags)); });
}

}  // namespace reprise::api
