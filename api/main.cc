// The `reprise` program: names the commands and runs the one that was asked for.
#include <malloc.h>

#include <algorithm>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "api/cli/commands.h"
#include "api/cli/flag_set.h"
#include "bench/bench.h"

int main(int argc, char** argv) {
  // gRPC takes messages in by small pieces and frees them together. Given back to the kernel each
  // time, their memory would be faulted in again each time.
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  // So each of malloc's arenas keeps what was ever freed in it, of which there are eight a core,
  // and they fill for hours. No more threads allocate at once than run at once.
  mallopt(M_ARENA_MAX, std::max(4, static_cast<int>(std::thread::hardware_concurrency())));
  const std::vector<std::string> args(argv + 1, argv + argc);
  reprise::api::FlagSet program(
      "reprise",
      "Keeps the KV cache of LLM prompts in RAM and on disk, and serves models with it.");
  program.AddVersion("reprise " REPRISE_VERSION);
  reprise::api::AddServeCommand(program);
  reprise::api::AddChatCommand(program);
  reprise::api::AddGenerateCommand(program);
  reprise::api::AddCacheCommand(program);
  reprise::api::AddSizeCommand(program);
  reprise::api::AddMakeModelCommand(program);
  reprise::api::AddCredentialCommand(program);
  reprise::bench::AddBenchCommand(program);
  program.SetExamples("Each command has a --help with examples: reprise serve --help\n");
  return program.Run(args, std::cout, std::cerr);
}
