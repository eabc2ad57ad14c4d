// Recovery from an index that says anything: what is left keeps to the budget and to the files, and
// recovering once more loses nothing. Input: records of 8 bytes each.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cachestore/base/check.h"
#include "cachestore/tier/slot_recovery.h"

namespace {

using namespace reprise::cachestore;  // NOLINT

constexpr uint64_t kSlot = 8192;
constexpr int64_t kCapacity = 10 * kSlot;

struct Index {
  Index() {
    path = (std::filesystem::temp_directory_path() / "recovery_fuzz_XXXXXX").string();
    CHECK(mkdtemp(path.data()) != nullptr);
    auto opened = BlockCatalog::Open(path + "/index");
    CHECK(opened.ok());
    catalog = *std::move(opened);
  }
  ~Index() {
    catalog.reset();
    std::filesystem::remove_all(path);
  }
  std::string path;
  std::unique_ptr<BlockCatalog> catalog;
};

// Mostly small values, sometimes extreme ones.
uint64_t Spread(uint8_t byte) {
  static constexpr uint64_t kExtremes[] = {
      std::numeric_limits<uint64_t>::max(), std::numeric_limits<uint64_t>::max() - 4095,
      std::numeric_limits<uint32_t>::max(), uint64_t{1} << 63, uint64_t{1} << 32};
  return byte < 250 ? byte % 16 : kExtremes[byte - 250 < 5 ? byte - 250 : 4];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Index index;
  const std::unique_ptr<BlockFileSystem> files = MakePosixBlockFileSystem();
  std::vector<BlockKey> keys;
  CHECK(index.catalog
            ->Scan(KeyRange(), [&](const BlockKey& key, absl::string_view) { keys.push_back(key); })
            .ok());
  CHECK(index.catalog->Erase(keys).ok());
  for (uint32_t id = 1; id <= 5; ++id) {
    std::filesystem::remove(absl::StrCat(index.path, "/", SlotFileName(id)));
    if (size > id && data[id] % 2 == 0) {
      CHECK(files->Create(absl::StrCat(index.path, "/", SlotFileName(id)), 4 * kSlot).ok());
    }
  }
  const std::vector<TokenId> tokens = {1, 2, 3, 4};
  std::vector<BlockCatalog::Entry> entries;
  for (size_t at = 0; at + 8 <= size && entries.size() < 40; at += 8) {
    const uint8_t* in = data + at;
    const BlockKey key = {in[0], in[1]};
    const uint64_t payload = in[2] < 128 ? kSlot - 4096 : Spread(in[2]) * 4096 + Spread(in[3]);
    entries.push_back({.key = key,
                       .record = {.payload_bytes = payload,
                                  .sequence = Spread(in[4]),
                                  .address = {.file_id = static_cast<uint32_t>(Spread(in[5])),
                                              .slot = static_cast<uint32_t>(Spread(in[6]))}},
                       .tokens = tokens});
  }
  if (!entries.empty()) CHECK(index.catalog->Put(entries).ok());
  const auto first = RecoverSlots(*index.catalog, *files, index.path, kCapacity);
  CHECK(first.ok());
  uint64_t file_bytes = 0;
  uint64_t used_slots = 0;
  for (const auto& [id, file] : first->files) {
    file_bytes += file.file_bytes;
    used_slots += file.slots.num_slots() - file.slots.num_free();
  }
  CHECK(file_bytes <= kCapacity);
  CHECK(used_slots == static_cast<uint64_t>(first->num_blocks));
  const auto second = RecoverSlots(*index.catalog, *files, index.path, kCapacity);
  CHECK(second.ok() && second->num_blocks == first->num_blocks &&
        second->used_bytes == first->used_bytes);
  return 0;
}
