#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/direct_disk.h"
#include "bench/disk_load.h"
#include "bench/disk_rows.h"
#include "bench/machine.h"
#include "bench/peers/rocks_peer.h"
#include "bench/progress.h"
#include "bench/rounds.h"
#include "bench/synthetic.h"
#include "bench/temp_folder.h"
#include "cachestore/base/status_macros.h"

namespace reprise::bench {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kPutBlockBytes = 2 * kMiB;

struct Sizes {
  int64_t data_bytes;   // on disk, of each arm
  int64_t round_bytes;  // read or written by one round
  int rounds;

  // Blocks of a chain: a round reads or writes eight chains.
  int64_t chain_blocks(int64_t block_bytes) const { return round_bytes / block_bytes / 8; }
};

Sizes SizesFor(Extent extent) {
  if (extent == Extent::kQuick)
    return {.data_bytes = 64 * kMiB, .round_bytes = 16 * kMiB, .rounds = 1};
  return {.data_bytes = 2048 * kMiB, .round_bytes = 512 * kMiB, .rounds = 9};
}

// The depth of 1, 2, 4 ... 32 at which `seconds_at` is the least.
absl::StatusOr<int> BestDepth(const std::string& what,
                              const std::function<absl::StatusOr<double>(int)>& seconds_at) {
  Progress progress(what, 32);
  int best = 1;
  double best_seconds = 0;
  for (int depth = 1; depth <= 32; depth *= 2) {
    progress.Update(depth, "depth");
    ASSIGN_OR_RETURN(const double first, seconds_at(depth));
    ASSIGN_OR_RETURN(const double second, seconds_at(depth));
    const double seconds = std::min(first, second);
    if (depth == 1 || seconds < best_seconds) {
      best = depth;
      best_seconds = seconds;
    }
  }
  return best;
}

// Seconds that `num_threads` take to get `count` values of the first `num_values`, at random.
absl::StatusOr<double> GetSeconds(RocksPeer& peer, int64_t num_values, int64_t count,
                                  int num_threads) {
  static std::atomic<uint64_t> next_seed = 0;
  std::atomic<int64_t> left = count;
  std::vector<absl::Status> statuses(num_threads);
  const double seconds = SecondsOf([&] {
    std::vector<std::thread> threads;
    for (absl::Status& status : statuses) {
      threads.emplace_back([&, seed = next_seed++] {
        Random random(seed);
        while (status.ok() && left-- > 0) {
          status = peer.Get(random.Below(num_values), kPutBlockBytes);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
  return seconds;
}

absl::StatusOr<double> TimeOf(const std::function<absl::Status()>& work) {
  absl::Status status;
  const double seconds = SecondsOf([&] { status = work(); });
  RETURN_IF_ERROR(status);
  return seconds;
}

// A peer with its data set put.
struct Peer {
  std::string name;
  std::unique_ptr<RocksPeer> db;
  int64_t num_values = 0;  // put so far
  int get_threads = 1;     // with which it is fastest
};

absl::StatusOr<Peer> MakePeer(RocksPeer::Kind kind, const std::string& name,
                              const std::string& directory, const std::string& value,
                              const Sizes& sizes) {
  Peer peer{.name = name, .db = nullptr, .num_values = sizes.data_bytes / kPutBlockBytes};
  ASSIGN_OR_RETURN(peer.db, RocksPeer::Create(kind, absl::StrCat(directory, "/", name)));
  RETURN_IF_ERROR(peer.db->Put(0, peer.num_values, value));
  ASSIGN_OR_RETURN(peer.get_threads, BestDepth(absl::StrCat(name, " get"), [&](int threads) {
                     return GetSeconds(*peer.db, peer.num_values,
                                       sizes.round_bytes / kPutBlockBytes / 4, threads);
                   }));
  return peer;
}

// The store with the data set on disk. Capacity is what the data set takes and a quarter, so that
// after few rounds each put has to erase.
absl::StatusOr<std::unique_ptr<DiskLoad>> MakeStore(const std::string& directory,
                                                    int64_t block_bytes, const Sizes& sizes) {
  const int64_t slot_bytes = block_bytes + 4096;
  ASSIGN_OR_RETURN(
      std::unique_ptr<DiskLoad> load,
      DiskLoad::Open({.directory = directory,
                      .block_bytes = block_bytes,
                      .chain_blocks = sizes.chain_blocks(block_bytes),
                      .ram_bytes = 2 * sizes.round_bytes,
                      .disk_bytes = sizes.data_bytes / block_bytes * slot_bytes * 5 / 4}));
  for (int64_t bytes = 0; bytes < sizes.data_bytes; bytes += sizes.round_bytes) {
    RETURN_IF_ERROR(load->PutChains(8));
    RETURN_IF_ERROR(load->Demote());
  }
  return load;
}

// A round of reading chains that are not in RAM.
absl::StatusOr<double> ReadRound(DiskLoad& load, const Sizes& sizes) {
  ASSIGN_OR_RETURN(const double seconds, TimeOf([&] {
                     return load.ReadChains(8, sizes.data_bytes / load.chain_bytes());
                   }));
  RETURN_IF_ERROR(load.Demote());
  return seconds;
}

// A round of making durable what was put into RAM before.
absl::StatusOr<double> WriteRound(DiskLoad& load) {
  RETURN_IF_ERROR(load.PutChains(8));
  return TimeOf([&] { return load.Demote(); });
}

class Rows {
 public:
  Rows(const std::string& directory, const Sizes& sizes, int depth)
      : round_bytes_(static_cast<double>(sizes.round_bytes)),
        context_{{"data_bytes", absl::StrCat(sizes.data_bytes)},
                 {"round_bytes", absl::StrCat(sizes.round_bytes)},
                 {"rounds", absl::StrCat(sizes.rounds)},
                 {"file_system", FileSystemInWords(directory)},
                 {"limit", absl::StrCat("O_DIRECT, ", depth,
                                        " at a time, the best of 1 to 32; reads are of "
                                        "runs as long as a chain")}} {}

  void AddAgainstLimit(const std::string& metric, double ours, double limit, double goal) {
    Result row{.metric = metric, .unit = "GB/s", .ours = Rate(ours)};
    row.limit = Rate(limit);
    row.goal = Goal{Goal::Of::kOursOverLimit, Goal::Bound::kAtLeast, goal};
    row.context = context_;
    rows_.push_back(std::move(row));
  }
  void AddAgainstPeer(const std::string& metric, double ours, double limit, double peer,
                      double goal, const std::string& peer_words) {
    Result row{.metric = metric, .unit = "GB/s", .ours = Rate(ours)};
    row.limit = Rate(limit);
    row.peer = Rate(peer);
    row.goal = Goal{Goal::Of::kOursOverPeer, Goal::Bound::kAtLeast, goal};
    row.context = context_;
    row.context["peer"] = peer_words;
    rows_.push_back(std::move(row));
  }
  std::vector<Result> Take() { return std::move(rows_); }

 private:
  double Rate(double seconds) const { return round_bytes_ / seconds / 1e9; }

  const double round_bytes_;
  const std::map<std::string, std::string> context_;
  std::vector<Result> rows_;
};

absl::StatusOr<std::vector<Result>> MeasureLargeBlocks(const Sizes& sizes,
                                                       const std::string& directory) {
  ASSIGN_OR_RETURN(const TempFolder folder, TempFolder::Make("reprise-bench-disk", directory));
  const std::string value(kPutBlockBytes, 'v');
  ASSIGN_OR_RETURN(const std::unique_ptr<DirectDisk> direct,
                   DirectDisk::Create(folder.path(), sizes.data_bytes));
  ASSIGN_OR_RETURN(const std::unique_ptr<DiskLoad> store,
                   MakeStore(folder.path() + "/store", kPutBlockBytes, sizes));
  std::vector<Peer> peers;
  ASSIGN_OR_RETURN(peers.emplace_back(),
                   MakePeer(RocksPeer::Kind::kBlobDb, "blobdb", folder.path(), value, sizes));
  ASSIGN_OR_RETURN(peers.emplace_back(),
                   MakePeer(RocksPeer::Kind::kPlainSst, "sst", folder.path(), value, sizes));
  ASSIGN_OR_RETURN(const int read_depth, BestDepth("O_DIRECT read", [&](int depth) {
                     return direct->ReadSeconds(kPutBlockBytes, sizes.chain_blocks(kPutBlockBytes),
                                                sizes.round_bytes / 4, depth);
                   }));
  ASSIGN_OR_RETURN(const int write_depth, BestDepth("O_DIRECT write", [&](int depth) {
                     return direct->WriteSeconds(kPutBlockBytes, sizes.round_bytes / 4, depth);
                   }));

  std::vector<Arm> gets = {{"O_DIRECT",
                            [&] {
                              return direct->ReadSeconds(kPutBlockBytes,
                                                         sizes.chain_blocks(kPutBlockBytes),
                                                         sizes.round_bytes, read_depth);
                            }},
                           {"ours", [&] { return ReadRound(*store, sizes); }}};
  std::vector<Arm> puts = {
      {"O_DIRECT",
       [&] { return direct->WriteSeconds(kPutBlockBytes, sizes.round_bytes, write_depth); }},
      {"ours", [&] { return WriteRound(*store); }}};
  const int64_t round_values = sizes.round_bytes / kPutBlockBytes;
  for (Peer& peer : peers) {
    gets.push_back({peer.name, [&] {
                      return GetSeconds(*peer.db, sizes.data_bytes / kPutBlockBytes, round_values,
                                        peer.get_threads);
                    }});
    puts.push_back({peer.name, [&] {
                      const int64_t first =
                          std::exchange(peer.num_values, peer.num_values + round_values);
                      return TimeOf([&] { return peer.db->Put(first, round_values, value); });
                    }});
  }
  ASSIGN_OR_RETURN(const std::vector<double> get,
                   MedianOfRounds("disk.get_2mib", sizes.rounds, gets));
  ASSIGN_OR_RETURN(const std::vector<double> put,
                   MedianOfRounds("disk.put_2mib_durable", sizes.rounds, puts));

  Rows get_rows(directory, sizes, read_depth);
  get_rows.AddAgainstLimit("disk.get_2mib", get[1], get[0], 0.90);
  get_rows.AddAgainstPeer("disk.get_2mib_vs_blobdb", get[1], get[0], get[2], 2,
                          absl::StrCat("RocksDB BlobDB, ", peers[0].get_threads, " threads"));
  get_rows.AddAgainstPeer("disk.get_2mib_vs_sst", get[1], get[0], get[3], 1.5,
                          absl::StrCat("RocksDB tables, ", peers[1].get_threads, " threads"));
  Rows put_rows(directory, sizes, write_depth);
  put_rows.AddAgainstLimit("disk.put_2mib_durable", put[1], put[0], 0.85);
  put_rows.AddAgainstPeer("disk.put_2mib_durable_vs_blobdb", put[1], put[0], put[2], 2,
                          "RocksDB BlobDB, no WAL, flushed");
  put_rows.AddAgainstPeer("disk.put_2mib_durable_vs_sst", put[1], put[0], put[3], 1.5,
                          "RocksDB tables, no WAL, flushed");
  std::vector<Result> rows = get_rows.Take();
  for (Result& row : put_rows.Take()) rows.push_back(std::move(row));
  return rows;
}

absl::StatusOr<std::vector<Result>> MeasureSmallBlocks(Sizes sizes, const std::string& directory) {
  constexpr int64_t kBlockBytes = 128 << 10;
  sizes.data_bytes /= 2;
  sizes.round_bytes /= 2;
  ASSIGN_OR_RETURN(const TempFolder folder, TempFolder::Make("reprise-bench-disk", directory));
  ASSIGN_OR_RETURN(const std::unique_ptr<DirectDisk> direct,
                   DirectDisk::Create(folder.path(), sizes.data_bytes));
  ASSIGN_OR_RETURN(const std::unique_ptr<DiskLoad> store,
                   MakeStore(folder.path() + "/store", kBlockBytes, sizes));
  ASSIGN_OR_RETURN(const int depth, BestDepth("O_DIRECT read of 128 KiB", [&](int d) {
                     return direct->ReadSeconds(kBlockBytes, sizes.chain_blocks(kBlockBytes),
                                                sizes.round_bytes / 4, d);
                   }));
  const Arm arms[] = {{"O_DIRECT",
                       [&] {
                         return direct->ReadSeconds(kBlockBytes, sizes.chain_blocks(kBlockBytes),
                                                    sizes.round_bytes, depth);
                       }},
                      {"ours", [&] { return ReadRound(*store, sizes); }}};
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   MedianOfRounds("disk.get_128kib", sizes.rounds, arms));
  Rows rows(directory, sizes, depth);
  rows.AddAgainstLimit("disk.get_128kib", seconds[1], seconds[0], 0.85);
  return rows.Take();
}

}  // namespace

absl::StatusOr<std::vector<Result>> MeasureThroughput(Extent extent, const std::string& directory) {
  const Sizes sizes = SizesFor(extent);
  ASSIGN_OR_RETURN(std::vector<Result> rows, MeasureLargeBlocks(sizes, directory));
  ASSIGN_OR_RETURN(std::vector<Result> small, MeasureSmallBlocks(sizes, directory));
  for (Result& row : small) rows.push_back(std::move(row));
  return rows;
}

}  // namespace reprise::bench
