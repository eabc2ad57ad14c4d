#include "cachestore/base/hash.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "cachestore/base/check.h"

namespace reprise::cachestore {
namespace {

absl::Span<const std::byte> Bytes(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// Values of the XXH3 specification; they are persisted and must never change.
TEST(HashTest, EqualsThePublishedValuesOfTheEmptyInput) {
  EXPECT_EQ(HashBytes64({}), 0x2d06800538d394c2u);
  EXPECT_EQ(HashBytes128({}), (Hash128{0x99aa06d3014798d8u, 0x6001c324468d497fu}));
}

TEST(HashTest, OneFlippedBitChangesBothHashes) {
  std::string text(5000, 'k');
  const Hash128 before128 = HashBytes128(Bytes(text));
  const uint64_t before64 = HashBytes64(Bytes(text));
  EXPECT_EQ(HashBytes128(Bytes(text)), before128);
  text[2500] ^= 1;
  EXPECT_FALSE(HashBytes128(Bytes(text)) == before128);
  EXPECT_NE(HashBytes64(Bytes(text)), before64);
}

// Around the length of a piece, and a block of two MiB.
TEST(HashTest, CopyAndHashCopiesAndHashesTheSameBytes) {
  for (const size_t size : {0u, 1u, 16383u, 16384u, 16385u, 49152u, 2097152u}) {
    std::vector<std::byte> from(size);
    for (size_t i = 0; i < size; ++i) from[i] = static_cast<std::byte>(i * 31 + i / 251);
    std::vector<std::byte> to(size + 1, std::byte{0x5a});
    EXPECT_EQ(CopyAndHash64(from, to.data()), HashBytes64(from)) << size;
    EXPECT_TRUE(std::equal(from.begin(), from.end(), to.begin())) << size;
    EXPECT_EQ(to[size], std::byte{0x5a}) << size;
  }
}

TEST(HashTest, AStreamHasTheHashOfAllItsPiecesAndCopiesThem) {
  std::string text(100000, 0);
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 + i / 251);
  const absl::Span<const std::byte> bytes = Bytes(text);
  StreamHash64 copied;
  StreamHash64 read;
  std::vector<std::byte> to(bytes.size());
  size_t begin = 0;
  for (const size_t length : {0u, 1u, 17u, 40000u, 59982u}) {
    copied.AddCopy(bytes.subspan(begin, length), to.data() + begin);
    read.Add(bytes.subspan(begin, length));
    begin += length;
  }
  ASSERT_EQ(begin, bytes.size());
  EXPECT_EQ(copied.hash(), HashBytes64(bytes));
  EXPECT_EQ(read.hash(), HashBytes64(bytes));
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), to.begin()));
}

TEST(HashTest, HashWithPiecesIsTheHashOfTheWholeAndOfEachPiece) {
  std::string text(100000, 0);
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 + i / 251);
  for (const size_t size : {0u, 1u, 4096u, 4097u, 8192u, 100000u}) {
    const absl::string_view bytes = absl::string_view(text).substr(0, size);
    std::vector<uint64_t> pieces = {1, 2, 3};
    EXPECT_EQ(HashWithPieces64(Bytes(bytes), 4096, &pieces), HashBytes64(Bytes(bytes))) << size;
    ASSERT_EQ(pieces.size(), (size + 4095) / 4096);
    for (size_t i = 0; i < pieces.size(); ++i) {
      EXPECT_EQ(pieces[i], HashBytes64(Bytes(bytes.substr(i * 4096, 4096)))) << size << " " << i;
    }
  }
}

// Memory that somebody else has mapped too, and changes: its first page, as soon as its ninth is
// read for the first time.
class ChangingMemory {
 public:
  static constexpr size_t kBytes = 128 << 10;

  ChangingMemory() {
    const int fd = memfd_create("hash_test", MFD_CLOEXEC);
    CHECK(ftruncate(fd, kBytes) == 0);
    for (std::byte** const map : {&mine_, &theirs_}) {
      *map =
          static_cast<std::byte*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
      CHECK(*map != MAP_FAILED);
    }
    close(fd);
    memory_ = this;
    struct sigaction action = {};
    action.sa_handler = [](int) { memory_->Change(); };
    CHECK(sigaction(SIGSEGV, &action, &before_) == 0);
    CHECK(mprotect(mine_ + kNinth, kPage, PROT_NONE) == 0);
  }
  ~ChangingMemory() {
    sigaction(SIGSEGV, &before_, nullptr);
    munmap(mine_, kBytes);
    munmap(theirs_, kBytes);
  }
  absl::Span<const std::byte> bytes() const { return {mine_, kBytes}; }
  bool has_changed() const { return theirs_[1000] != std::byte{0}; }

 private:
  static constexpr size_t kPage = 4096;
  static constexpr size_t kNinth = 8 * kPage;

  void Change() {
    theirs_[1000] = std::byte{1};
    if (mprotect(mine_ + kNinth, kPage, PROT_READ) != 0) _exit(1);
  }

  static ChangingMemory* memory_;
  std::byte* mine_ = nullptr;
  std::byte* theirs_ = nullptr;
  struct sigaction before_ = {};
};
ChangingMemory* ChangingMemory::memory_ = nullptr;

// A whole that is what it should be, with a piece that is not, would let wrong bytes pass.
TEST(HashTest, HashesOfPiecesAreOfTheSameBytesAsThatOfTheWhole) {
  ChangingMemory memory;
  std::vector<uint64_t> pieces;
  const uint64_t whole = HashWithPieces64(memory.bytes(), 64 << 10, &pieces);
  ASSERT_TRUE(memory.has_changed());
  std::vector<uint64_t> now;
  EXPECT_EQ(whole == HashWithPieces64(memory.bytes(), 64 << 10, &now), pieces == now);
}

// HashBytes64 is another path of the library for each of these lengths, as are the CPU's vectors;
// computed with the reference implementation (the xxhash package of Python).
TEST(HashTest, EqualsTheReferenceAtEveryLengthClass) {
  const std::vector<std::pair<size_t, uint64_t>> known = {
      {3, 0x3698b80191e625f9u},   {12, 0xeb6097c8c38b66cdu},   {80, 0xd1552f62ff7566d5u},
      {200, 0xc56a3bc977e096fbu}, {4088, 0xe04becfe6b6c2911u}, {2097152, 0x149feefed018b584u}};
  for (const auto& [size, hash] : known) {
    std::string text(size, 0);
    for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + i / 251);
    EXPECT_EQ(HashBytes64(Bytes(text)), hash) << size;
  }
}

}  // namespace
}  // namespace reprise::cachestore
