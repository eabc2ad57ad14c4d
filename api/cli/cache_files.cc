#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "api/cli/cache_commands.h"
#include "api/cli/cache_target.h"
#include "api/cli/commands.h"
#include "api/cli/message_json.h"
#include "api/cli/table.h"
#include "api/client/cache_client.h"
#include "api/file/block_file_format.h"
#include "cachestore/base/status_macros.h"

namespace reprise::api {
namespace {

struct FileFlags {
  ServerFlags server;
  NamespaceFlags ns;
  PromptFlags prompt;
  std::string file;
  bool json = false;

  bool has_prompt() const {
    return !prompt.tokens_file.empty() || !prompt.text_file.empty() ||
           !prompt.external_keys.empty();
  }
};

absl::StatusOr<v1::ExportRequest> ExportRequestOf(CacheClient& client, const FileFlags& flags) {
  v1::ExportRequest request;
  ASSIGN_OR_RETURN(const OpenedNamespace ns, OpenNamespaceOf(client, flags.server, flags.ns));
  if (!flags.has_prompt()) {
    request.set_namespace_id(ns.id);
    return request;
  }
  ASSIGN_OR_RETURN(const Prompt prompt, PromptOf(flags.server, flags.prompt));
  *request.mutable_prefix() = prompt.PrefixIn(ns);
  return request;
}

absl::Status RunExport(const FileFlags& flags) {
  ASSIGN_OR_RETURN(const auto client, Connect<CacheClient>(flags.server));
  ASSIGN_OR_RETURN(const v1::ExportRequest request, ExportRequestOf(*client, flags));
  // A file of this name is always a whole one.
  const std::string part = flags.file + ".part";
  std::ofstream out(part, std::ios::binary | std::ios::trunc);
  int64_t num_bytes = 0;
  std::string end;  // of the file
  absl::Status status =
      client->Export(request, flags.server.timeout(), [&](absl::string_view bytes) {
        num_bytes += static_cast<int64_t>(bytes.size());
        absl::StrAppend(&end, bytes.substr(bytes.size() - std::min(bytes.size(), kEndRecordBytes)));
        end.erase(0, end.size() - std::min(end.size(), kEndRecordBytes));
        return static_cast<bool>(
            out.write(bytes.data(), static_cast<std::streamsize>(bytes.size())));
      });
  out.close();
  if (!out) status = absl::InternalError(absl::StrCat(part, " cannot be written"));
  const int64_t num_blocks = status.ok() && end.size() == kEndRecordBytes ? NumBlocksIn(end) : 0;
  if (status.ok() && num_blocks == 0) {
    status = absl::NotFoundError(absl::StrCat(
        "nothing is cached of ", flags.has_prompt() ? "this prompt" : "this namespace",
        ", so there is nothing to write; `reprise cache warm` computes the blocks of prompts"));
  }
  std::error_code error;
  if (status.ok()) std::filesystem::rename(part, flags.file, error);
  if (error) status = absl::InternalError(absl::StrCat(flags.file, ": ", error.message()));
  if (!status.ok()) {
    std::filesystem::remove(part, error);
    return status;
  }
  if (flags.json) {
    std::cout << "{\"blocks\":" << num_blocks << ",\"bytes\":" << num_bytes << "}" << std::endl;
  } else {
    std::cout << "wrote " << WithThousands(num_blocks) << " blocks, " << BytesText(num_bytes)
              << ", to " << flags.file << std::endl;
  }
  return absl::OkStatus();
}

absl::Status RunImport(const FileFlags& flags) {
  std::ifstream in(flags.file, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat(flags.file, " cannot be read"));
  ASSIGN_OR_RETURN(const auto client, Connect<CacheClient>(flags.server));
  ASSIGN_OR_RETURN(const v1::ImportResponse imported, client->Import(flags.server.timeout(), [&in] {
    std::string piece(size_t{1} << 20, '\0');
    in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    piece.resize(static_cast<size_t>(in.gcount()));
    return piece;
  }));
  if (flags.json) {
    std::cout << ToJsonLine(imported) << std::endl;
  } else {
    std::cout << "stored " << WithThousands(imported.stored_blocks()) << " blocks, "
              << WithThousands(imported.existing_blocks()) << " were there already" << std::endl;
  }
  if (imported.rejected_blocks() == 0) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "the server rejected ", imported.rejected_blocks(), " blocks: ", imported.reject_reason()));
}

}  // namespace

void AddExport(FlagSet& cache) {
  FlagSet& command =
      cache.AddCommand("export", "write cached blocks to a file that `cache import` takes");
  const auto flags = std::make_shared<FileFlags>();
  AddServerFlags(command, &flags->server);
  AddNamespaceFlags(command, &flags->ns);
  AddPromptFlags(command, &flags->prompt);
  command.Add("out", &flags->file, "FILE", "the file; it appears when it is complete");
  command.Require("out");
  command.AddSwitch("json", &flags->json, "print one JSON object");
  command.SetExamples(
      "Without a prompt, all blocks of the namespace; with one, its cached prefix.\n\n"
      "Examples:\n"
      "  reprise cache export --text-file system-prompt.txt --out system-prompt.kv\n"
      "  reprise cache export --namespace-json ns.json --out all.kv\n");
  command.SetAction([flags] { return ExitCode("cache export", flags->server, RunExport(*flags)); });
}

void AddImport(FlagSet& cache) {
  FlagSet& command = cache.AddCommand("import", "store the blocks of an exported file");
  const auto flags = std::make_shared<FileFlags>();
  AddServerFlags(command, &flags->server);
  command.Add("file", &flags->file, "FILE", "the file");
  command.Require("file");
  command.AddSwitch("json", &flags->json, "print one JSON object");
  command.SetExamples("Examples:\n  reprise cache import --file system-prompt.kv\n");
  command.SetAction([flags] { return ExitCode("cache import", flags->server, RunImport(*flags)); });
}

}  // namespace reprise::api
