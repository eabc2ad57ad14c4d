// The commands of `reprise`, one function each: adds the command to the program. Their flags and
// examples are in their --help; a command's file holds what it does.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "api/cli/flag_set.h"

namespace reprise::api {

void AddServeCommand(FlagSet& program);
void AddChatCommand(FlagSet& program);
void AddGenerateCommand(FlagSet& program);
void AddCacheCommand(FlagSet& program);
void AddSizeCommand(FlagSet& program);
void AddMakeModelCommand(FlagSet& program);
void AddCredentialCommand(FlagSet& program);

// Exit codes: done, failed, wrong usage.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

// The exit code of a command that ended with `status`; an error goes to stderr, in one line behind
// the command's name.
int ExitCode(absl::string_view command, const absl::Status& status);

}  // namespace reprise::api
