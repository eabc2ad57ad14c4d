// Which folder may include which, and which may know a library. The tables are the rule; the rest
// of this file applies them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tests/tidy/source_tree.h"

namespace reprise {
namespace {

using Folders = std::vector<std::string>;

// Folder to the folders right below it. It may include those, what they may include, and itself.
// engine/sched knows no math: neither engine/backend nor engine/model nor engine/run.
const std::map<std::string, Folders> kBelow = {
    {"cachestore/base", {}},
    {"cachestore/block", {"cachestore/base"}},
    {"cachestore/memory", {"cachestore/base"}},
    {"cachestore/memory/cuda", {"cachestore/memory"}},
    {"cachestore/memory/none", {"cachestore/memory"}},
    {"cachestore/policy", {"cachestore/block"}},
    {"cachestore/trace", {"cachestore/base"}},
    {"cachestore/index", {"cachestore/block"}},
    {"cachestore/pool", {"cachestore/block", "cachestore/memory"}},
    {"cachestore/tier", {"cachestore/block"}},
    {"cachestore/store",
     {"cachestore/policy", "cachestore/index", "cachestore/pool", "cachestore/tier"}},
    {"engine/backend", {"cachestore/block", "cachestore/memory"}},
    {"engine/backend/cuda/emulation", {"cachestore/base"}},
    {"engine/backend/cuda/kernels", {"engine/backend/cuda/emulation"}},
    {"engine/backend/cuda", {"engine/backend", "engine/backend/cuda/kernels"}},
    {"engine/backend/cuda/cublaslt", {"engine/backend/cuda", "cachestore/memory/cuda"}},
    {"engine/backend/cuda/card", {"engine/backend/cuda/cublaslt"}},
    {"engine/backend/cuda/none", {"engine/backend/cuda"}},
    {"engine/json", {"cachestore/base"}},
    {"engine/text", {"cachestore/base"}},
    {"engine/jinja", {"engine/text"}},
    {"engine/tokenizer", {"engine/json", "engine/jinja"}},
    {"engine/model", {"engine/backend", "engine/json"}},
    {"engine/sched", {"cachestore/store"}},
    {"engine/run", {"engine/model", "engine/sched"}},
    {"engine", {"engine/run", "engine/tokenizer"}},
    {"api/session", {"engine/sched"}},
    {"api", {"api/session", "engine", "engine/backend/cuda", "cachestore/trace"}},
    {"bench", {"api", "engine/backend/cuda/cublaslt"}},
    {"tests",
     {"bench", "engine/backend/cuda/card", "engine/backend/cuda/none", "cachestore/memory/cuda",
      "cachestore/memory/none"}},
};

// The one file that may look above its folder: the binary holds the benchmarks too.
constexpr absl::string_view kMain = "api/main.cc";

// Headers of a library, by how their names begin, and the folders that may know it.
struct Library {
  std::string prefix;
  Folders folders;
};
const std::vector<Library> kLibraries = {
    {"xxh", {"cachestore/base"}},
    {"rocksdb/", {"cachestore/tier", "bench/peers"}},
    {"hiredis/", {"bench/peers"}},
    {"liburing", {"cachestore/tier"}},
    {"oneapi/", {"engine/backend", "bench"}},
    {"dnnl", {"engine/backend"}},
    {"hwy/", {"engine/backend", "bench"}},
    {"cuda", {"cachestore/memory/cuda", "engine/backend/cuda", "bench/gpu", "tests/gpu"}},
    {"cublasLt", {"engine/backend/cuda/cublaslt", "bench/gpu"}},
    {"zlib", {"cachestore/trace"}},
    {"pcre2", {"engine/tokenizer"}},
    {"utf8proc", {"engine/tokenizer"}},
    {"nlohmann/", {"engine", "api", "bench", "tests"}},
    {"CLI/", {"api", "bench"}},
    {"toml++/", {"api/auth"}},
    {"openssl/", {"api/auth"}},
    {"boost/", {"api/http"}},
    {"prometheus/", {"api/http"}},
    {"spdlog/", {"api/log"}},
    {"grpc/", {"api", "bench", "tests"}},
    {"grpcpp/", {"api", "bench", "tests"}},
    {"google/protobuf/", {"api", "bench", "tests"}},
    {"reprise/v1/", {"api", "bench", "tests"}},  // generated from api/proto
    {"gtest/", {"tests"}},
    {"gmock/", {"tests"}},
};

// Whether `path` lies in `folder`, at any depth.
bool IsIn(absl::string_view path, absl::string_view folder) {
  return absl::StartsWith(path, absl::StrCat(folder, "/"));
}

// The folder of the table that `path` belongs to: the deepest one; empty when there is none.
std::string FolderOf(absl::string_view path) {
  std::string deepest;
  for (const auto& [folder, below] : kBelow) {
    if (IsIn(path, folder) && folder.size() > deepest.size()) deepest = folder;
  }
  return deepest;
}

// `folder` and all that it may include.
std::set<std::string> Reachable(const std::string& folder) {
  std::set<std::string> reachable = {folder};
  for (const std::string& below : kBelow.at(folder)) {
    const std::set<std::string> further = Reachable(below);
    reachable.insert(further.begin(), further.end());
  }
  return reachable;
}

// What is wrong with `path` including `header`, written in quotes or not; empty when nothing is.
std::string CheckInclude(const std::string& path, const std::string& header, bool quoted) {
  for (const Library& library : kLibraries) {
    if (!absl::StartsWith(header, library.prefix)) continue;
    const bool allowed = std::any_of(library.folders.begin(), library.folders.end(),
                                     [&](const std::string& f) { return IsIn(path, f); });
    // A test of a folder may know what the folder knows.
    const bool mirrored =
        std::any_of(library.folders.begin(), library.folders.end(),
                    [&](const std::string& f) { return IsIn(path, absl::StrCat("tests/", f)); });
    return allowed || mirrored ? "" : absl::StrCat("may not know ", library.prefix);
  }
  if (!quoted || absl::StartsWith(header, "absl/")) return "";
  const std::string target = FolderOf(header);
  if (target.empty()) return "is not a path from the repository's root";
  if (path == kMain && target == "bench") return "";
  return Reachable(FolderOf(path)).count(target) > 0 ? "" : "is not below its folder";
}

// One complaint for each forbidden include in `file`.
std::vector<std::string> CheckIncludes(const SourceFile& file) {
  if (FolderOf(file.path).empty())
    return {absl::StrCat(file.path, " is in no folder of the table")};
  std::vector<std::string> complaints;
  for (const std::string& line : LinesOf(file.text)) {
    absl::string_view rest = line;
    if (!absl::ConsumePrefix(&rest, "#include ")) continue;
    const bool quoted = absl::StartsWith(rest, "\"");
    rest.remove_prefix(1);
    const std::string header(rest.substr(0, rest.find(quoted ? '"' : '>')));
    const std::string cause = CheckInclude(file.path, header, quoted);
    if (!cause.empty()) complaints.push_back(absl::StrCat(file.path, ": ", header, " ", cause));
  }
  return complaints;
}

// Folder to the folders that its library links, from the reprise_library lines of a CMakeLists.txt.
std::map<std::string, Folders> LinkedFolders(const std::string& cmake) {
  std::map<std::string, Folders> linked;
  for (const absl::string_view call : absl::StrSplit(cmake, "reprise_library(")) {
    const std::vector<std::string> words =
        absl::StrSplit(call.substr(0, call.find(')')), absl::ByAnyChar(" \n"), absl::SkipEmpty());
    if (words.empty() || kBelow.count(words[0]) == 0) continue;
    Folders& folders = linked[words[0]];
    for (const auto& [folder, below] : kBelow) {
      std::string library = folder;
      std::replace(library.begin(), library.end(), '/', '_');
      if (std::count(words.begin() + 1, words.end(), library) > 0) folders.push_back(folder);
    }
  }
  return linked;
}

TEST(LayeringTest, EveryIncludePointsDownwards) {
  int num_files = 0;
  std::vector<std::string> complaints;
  for (const SourceFile& file : ReadSourceTree()) {
    if (!IsCpp(file.path)) continue;
    ++num_files;
    const std::vector<std::string> found = CheckIncludes(file);
    complaints.insert(complaints.end(), found.begin(), found.end());
  }
  EXPECT_GT(num_files, 100);
  EXPECT_TRUE(complaints.empty()) << absl::StrJoin(complaints, "\n");
}

TEST(LayeringTest, LibrariesLinkOnlyWhatTheTableAllows) {
  size_t num_libraries = 0;
  for (const SourceFile& file : ReadSourceTree()) {
    if (!absl::EndsWith(file.path, "CMakeLists.txt")) continue;
    for (const auto& [folder, linked] : LinkedFolders(file.text)) {
      ++num_libraries;
      for (const std::string& target : linked) {
        EXPECT_EQ(Reachable(folder).count(target), 1u) << folder << " links " << target;
      }
    }
  }
  EXPECT_GE(num_libraries, 15u);
}

TEST(LayeringTest, LinkedLibrariesAreReadFromCMake) {
  const auto linked = LinkedFolders(
      "# Comment\nreprise_library(cachestore/base absl::status\n   engine_model)\n"
      "reprise_library(engine/run engine_model\n                engine_sched foo::engine)\n");
  EXPECT_EQ(linked.size(), 2u);
  EXPECT_THAT(linked.at("cachestore/base"), testing::ElementsAre("engine/model"));
  EXPECT_THAT(linked.at("engine/run"), testing::ElementsAre("engine/model", "engine/sched"));
}

struct Edge {
  std::string path;
  std::string include;
};

TEST(LayeringTest, ForbiddenIncludesAreCaught) {
  const Edge forbidden[] = {
      {"cachestore/store/a.cc", "\"engine/engine.h\""},
      {"cachestore/base/a.h", "\"api/server.h\""},
      {"cachestore/base/a.h", "\"cachestore/block/block_key.h\""},
      {"cachestore/policy/a.cc", "\"cachestore/index/prefix_index.h\""},
      {"cachestore/index/a.cc", "\"cachestore/policy/lru_policy.h\""},
      {"cachestore/block/a.cc", "\"cachestore/memory/arena.h\""},
      {"cachestore/tier/a.cc", "\"cachestore/pool/slot_pool.h\""},
      {"cachestore/pool/a.cc", "\"cachestore/store/tiered_store.h\""},
      {"engine/sched/a.cc", "\"engine/backend/backend.h\""},
      {"engine/sched/a.cc", "\"engine/model/model.h\""},
      {"engine/sched/a.cc", "\"engine/run/batch.h\""},
      {"engine/backend/a.cc", "\"engine/model/model.h\""},
      {"engine/backend/a.cc", "\"cachestore/store/tiered_store.h\""},
      {"engine/tokenizer/a.cc", "\"cachestore/block/block_key.h\""},
      {"engine/model/a.cc", "\"engine/tokenizer/tokenizer.h\""},
      {"engine/run/a.cc", "\"engine/engine.h\""},
      {"engine/engine.cc", "\"api/server.h\""},
      {"api/server.cc", "\"bench/report.h\""},
      {"api/cli/chat.cc", "\"bench/report.h\""},
      {"api/server.cc", "\"tests/fakes/faulty_tier.h\""},
      {"bench/report.cc", "\"tests/fakes/faulty_tier.h\""},
      {"cachestore/store/a.cc", "<rocksdb/db.h>"},
      {"bench/bench.cc", "<rocksdb/db.h>"},
      {"bench/hitrate/a.cc", "<zlib.h>"},
      {"engine/engine.cc", "<rocksdb/db.h>"},
      {"tests/reuse/a_test.cc", "<rocksdb/db.h>"},
      {"engine/engine.cc", "<grpcpp/server.h>"},
      {"cachestore/store/a.cc", "\"reprise/v1/cache.pb.h\""},
      {"engine/sched/a.cc", "<google/protobuf/message.h>"},
      {"cachestore/block/a.cc", "\"xxhash.h\""},
      {"engine/model/a.cc", "<hwy/highway.h>"},
      {"engine/model/a.cc", "\"oneapi/dnnl/dnnl.hpp\""},
      {"engine/backend/a.cc", "<cuda_runtime.h>"},
      {"cachestore/memory/a.cc", "<cuda_runtime_api.h>"},
      {"cachestore/memory/a.cc", "\"cachestore/memory/cuda/cuda_device.h\""},
      {"engine/backend/cuda/kernels/a.cuh", "\"engine/backend/backend.h\""},
      {"engine/engine.cc", "<CLI/CLI.hpp>"},
      {"api/server.cc", "<boost/beast.hpp>"},
      {"cachestore/base/a.cc", "<nlohmann/json.hpp>"},
      {"engine/engine.cc", "<gtest/gtest.h>"},
      {"engine/engine.cc", "\"engine.h\""},
  };
  for (const Edge& edge : forbidden) {
    const SourceFile file = {edge.path, absl::StrCat("// A.\n#include ", edge.include, "\n")};
    EXPECT_EQ(CheckIncludes(file).size(), 1u) << edge.path << " " << edge.include;
  }
  EXPECT_EQ(CheckIncludes({"elsewhere/a.cc", ""}).size(), 1u);
}

TEST(LayeringTest, AllowedIncludesPass) {
  const Edge allowed[] = {
      {"api/server.cc", "\"engine/sched/request.h\""},
      {"api/server.cc", "\"cachestore/store/tiered_store.h\""},
      {"api/main.cc", "\"bench/bench.h\""},
      {"bench/bench.cc", "\"engine/model/model.h\""},
      {"engine/engine.cc", "\"engine/backend/backend.h\""},
      {"engine/backend/cuda/a.cc", "\"engine/backend/cuda/kernels/a.h\""},
      {"engine/backend/cuda/kernels/a.cuh", "<cuda_runtime.h>"},
      {"cachestore/memory/cuda/a.cc", "<cuda_runtime_api.h>"},
      {"engine/run/a.cc", "\"engine/sched/request.h\""},
      {"engine/sched/a.cc", "\"cachestore/store/tiered_store.h\""},
      {"cachestore/store/a.cc", "\"cachestore/memory/arena.h\""},
      {"cachestore/tier/a.cc", "\"rocksdb/db.h\""},
      {"bench/peers/a.cc", "\"rocksdb/db.h\""},
      {"tests/cachestore/tier/a_test.cc", "\"rocksdb/db.h\""},
      {"tests/reuse/a_test.cc", "\"engine/engine.h\""},
      {"cachestore/base/a.cc", "\"absl/status/status.h\""},
      {"cachestore/base/a.cc", "<unistd.h>"},
  };
  for (const Edge& edge : allowed) {
    const SourceFile file = {edge.path, absl::StrCat("#include ", edge.include, "\n")};
    EXPECT_THAT(CheckIncludes(file), testing::IsEmpty()) << edge.path << " " << edge.include;
  }
}

}  // namespace
}  // namespace reprise
