// The commands below `reprise cache` that have files of their own, one function each: adds the
// command to `cache`.
#pragma once

#include "api/cli/flag_set.h"

namespace reprise::api {

// What is cached, and why (cache_view.cc).
void AddExplain(FlagSet& cache);
void AddList(FlagSet& cache);
void AddUsage(FlagSet& cache);
// What other sizes would have made of the requests (cache_what_if.cc).
void AddWhatIf(FlagSet& cache);
// What happens now (cache_top.cc), and what comes and goes (cache_watch.cc).
void AddTop(FlagSet& cache);
void AddWatch(FlagSet& cache);
// Blocks of prompts that will come (cache_warm.cc).
void AddWarm(FlagSet& cache);
// Blocks as files (cache_files.cc).
void AddExport(FlagSet& cache);
void AddImport(FlagSet& cache);
// What operators do, at --admin-listen (cache_admin.cc).
void AddVerify(FlagSet& cache);
void AddSessions(FlagSet& cache);
void AddRecord(FlagSet& cache);

}  // namespace reprise::api
