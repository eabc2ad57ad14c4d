#include "engine/backend/cuda/emulation/group_mma.h"

#include <algorithm>
#include <cstring>

#include "engine/backend/cuda/emulation/box_copy.h"
#include "engine/backend/cuda/emulation/thread_block.h"

namespace reprise::engine::cuda::emulation {
namespace {

constexpr int kDepth = 16;  // of a product
constexpr uint32_t kPattern = 1024;

// A matrix in shared memory.
class Matrix {
 public:
  Matrix(uint64_t descriptor, bool by_columns)
      : begin_(Bytes(descriptor)),
        leading_(Bytes(descriptor >> 16)),
        stride_(Bytes(descriptor >> 32)),
        by_columns_(by_columns) {
    const uint32_t may_be = by_columns ? 0 : 0x60;
    if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) != 0 || begin_ % kPattern & ~may_be) {
      ThreadBlock::Current().Fail("wgmma: not a matrix swizzled over 128 bytes");
    }
  }

  uint16_t At(int r, int k) const {
    const uint32_t offset = by_columns_ ? begin_ + 2 * (r % 64) + leading_ * (r / 64) +
                                              128 * (k % 8) + stride_ * (k / 8)
                                        : begin_ + 128 * (r % 8) + stride_ * (r / 8) + 2 * k;
    ThreadBlock& block = ThreadBlock::Current();
    const std::byte* at = block.shared() + Swizzled(offset);
    block.CheckShared(at, 2, 2, "wgmma");
    uint16_t element;
    std::memcpy(&element, at, sizeof(element));
    return element;
  }

 private:
  static uint32_t Bytes(uint64_t field) { return static_cast<uint32_t>(field & 0x3FFF) * 16; }

  const uint32_t begin_;
  const uint32_t leading_;
  const uint32_t stride_;
  const bool by_columns_;
};

// Rows 16 w + g and 16 w + g + 8 of A.
void ReadRows(const GroupProduct& product, int lane, float rows[2][kDepth]) {
  if (product.registers == nullptr) {
    const Matrix a(product.a, /*by_columns=*/false);
    for (int i = 0; i < 2 * kDepth; ++i) {
      const int row = lane / 32 * 16 + lane % 32 / 4 + 8 * (i / kDepth);
      rows[i / kDepth][i % kDepth] = product.widen(a.At(row, i % kDepth));
    }
    return;
  }
  for (int i = 0; i < 2 * kDepth; ++i) {
    const int k = i % kDepth;
    const uint32_t word = product.neighbours[k % 8 / 2][i / kDepth + 2 * (k / 8)];
    rows[i / kDepth][k] = product.widen(static_cast<uint16_t>(word >> (16 * (k % 2))));
  }
}

// values += A B, or = A B: the part of the running thread.
void Multiply(const GroupProduct& product, float* values) {
  const int lane = ThreadBlock::Current().thread() % kGroupLanes;
  float rows[2][kDepth];
  ReadRows(product, lane, rows);
  const Matrix b(product.b, product.b_by_columns);
  for (int n = 0; n < 2 * product.tiles; ++n) {
    const int column = n / 2 * 8 + 2 * (lane % 4) + n % 2;
    float depth[kDepth];
    for (int k = 0; k < kDepth; ++k) depth[k] = product.widen(b.At(column, k));
    for (int r = 0; r < 2; ++r) {
      float& value = values[n / 2 * 4 + 2 * r + n % 2];
      double sum = product.adds ? value : 0;
      for (int k = 0; k < kDepth; ++k) sum += double{rows[r][k]} * depth[k];
      value = static_cast<float>(sum);
    }
  }
}

}  // namespace

void GroupProducts::Fence(const void* registers, size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(registers);
  fenced_.push_back({begin, std::vector<std::byte>(begin, begin + bytes)});
}

void GroupProducts::CheckFenced(const void* registers, size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(registers);
  for (const Fenced& fenced : fenced_) {
    if (begin < fenced.registers || begin + bytes > fenced.registers + fenced.bytes.size())
      continue;
    if (std::memcmp(begin, fenced.bytes.data() + (begin - fenced.registers), bytes) == 0) return;
  }
  ThreadBlock::Current().Fail("wgmma: registers that were not fenced as they are");
}

GroupProducts::Sums* GroupProducts::FindSums(const float* registers) {
  const auto found = std::find_if(under_way_.begin(), under_way_.end(),
                                  [&](const Sums& s) { return s.registers == registers; });
  return found == under_way_.end() ? nullptr : &*found;
}

void GroupProducts::Begin(GroupProduct product) {
  ThreadBlock& block = ThreadBlock::Current();
  const size_t bytes = product.tiles * 4 * sizeof(float);
  Sums* sums = FindSums(product.sums);
  if (sums == nullptr) CheckFenced(product.sums, bytes);
  if (product.registers != nullptr) CheckFenced(product.registers, 4 * sizeof(uint32_t));
  const auto* lanes =
      reinterpret_cast<const GroupProduct*>(block.Exchange("wgmma", &product, sizeof(product)));
  const int first = block.thread() % kWarpLanes / 4 * 4;
  for (int i = 0; i < 4; ++i) product.neighbours[i] = lanes[first + i].registers;
  if (sums == nullptr) {
    sums = &under_way_.emplace_back();
    sums->registers = product.sums;
    sums->values.assign(product.sums, product.sums + product.tiles * 4);
  }
  ++sums->products;
  if (block.copy_time() == CopyTime::kEarliest) {
    Multiply(product, sums->values.data());
    std::memcpy(product.sums, sums->values.data(), bytes);
  } else {
    std::memset(static_cast<void*>(product.sums), static_cast<int>(kPoison), bytes);
  }
  work_.Begin(product);
  // A warp may have begun, and at the earliest multiplied, before the others of the group came.
  const uint64_t named[3] = {product.a, product.b, product.adds ? 1u : 0u};
  if (std::memcmp(block.ExchangeInGroup("wgmma", named, sizeof(named)), named, sizeof(named)) !=
      0) {
    block.Fail("wgmma: lanes that name different matrices");
  }
}

void GroupProducts::Finish(const GroupProduct& product) {
  Sums* sums = FindSums(product.sums);
  if (ThreadBlock::Current().copy_time() == CopyTime::kLatest) {
    Multiply(product, sums->values.data());
  }
  if (--sums->products > 0) return;
  std::memcpy(sums->registers, sums->values.data(), sums->values.size() * sizeof(float));
  under_way_.erase(under_way_.begin() + (sums - under_way_.data()));
}

void GroupProducts::Wait(int groups_left) {
  work_.Wait(groups_left, [this](const GroupProduct& product) { Finish(product); });
  fenced_.clear();
  // Registers of neighbours were read: none of them may go on before all have.
  ThreadBlock::Current().Exchange("wgmma.wait_group", nullptr, 0);
}

void GroupProducts::CheckDone(const float* sums) {
  if (FindSums(sums) != nullptr) {
    ThreadBlock::Current().Fail("wgmma: the wait leaves products of these sums under way");
  }
}

}  // namespace reprise::engine::cuda::emulation
