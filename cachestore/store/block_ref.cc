#include "cachestore/store/block_ref.h"

#include <utility>

#include "cachestore/base/check.h"

namespace reprise::cachestore {

BlockRef::BlockRef(BlockRef&& other) noexcept
    : registry_(std::exchange(other.registry_, nullptr)),
      handle_(other.handle_),
      key_(other.key_),
      bytes_(std::exchange(other.bytes_, {})),
      payload_hash_(other.payload_hash_) {}

BlockRef& BlockRef::operator=(BlockRef&& other) noexcept {
  if (this == &other) return *this;
  BlockRef old = std::move(*this);
  registry_ = std::exchange(other.registry_, nullptr);
  handle_ = other.handle_;
  key_ = other.key_;
  bytes_ = std::exchange(other.bytes_, {});
  payload_hash_ = other.payload_hash_;
  return *this;
}

BlockRef::~BlockRef() {
  if (registry_ != nullptr) registry_->Unpin(handle_);
}

WritableBlock::WritableBlock(WritableBlock&& other) noexcept
    : registry_(std::exchange(other.registry_, nullptr)),
      handle_(other.handle_),
      bytes_(std::exchange(other.bytes_, {})) {}

WritableBlock& WritableBlock::operator=(WritableBlock&& other) noexcept {
  if (this == &other) return *this;
  WritableBlock old = std::move(*this);
  registry_ = std::exchange(other.registry_, nullptr);
  handle_ = other.handle_;
  bytes_ = std::exchange(other.bytes_, {});
  return *this;
}

WritableBlock::~WritableBlock() {
  if (registry_ != nullptr) registry_->AbortWrite(handle_);
}

BlockHandle WritableBlock::Release() {
  CHECK(registry_ != nullptr);
  registry_ = nullptr;
  bytes_ = {};
  return handle_;
}

}  // namespace reprise::cachestore
