// A client that loads a server over both data planes until it is killed, gets SIGTERM, or has no
// server any more, and says on stdout what it does:
//
//     service_load ADDRESS CLIENT FLAGS [TOKEN]
//
//     begin THREAD OPERATION     put, get, acquire, seal or demote
//     end THREAD                 unless the server's end was that of the operation
//     putting CHAIN              from now on blocks of it may be in the store
//     acked CHAIN                the server has acknowledged all of its blocks
//     durable CHAIN              a demotion that began after that has ended, and all are on disk
//     wrong CHAIN                bytes that were read are not the right ones; it ends with 3
//
// TOKEN is a tenant's, or, with shared memory, an operator's. FLAGS, letters: m shared memory; d
// demotes, and says what is durable; and two for tests of the tests: l says that a chain was
// acknowledged which it never put; s spoils what it puts.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "api/client/cache_client.h"
#include "api/client/mapped_arena.h"
#include "api/client/session.h"
#include "cachestore/block/block_key.h"
#include "tests/process/service_chains.h"

namespace reprise::api {
namespace {

constexpr uint64_t kThreads = 3;
constexpr size_t kHeldLeases = 6;
constexpr absl::Duration kTimeout = absl::Seconds(30);

std::atomic<bool> stop = false;
thread_local bool broken = false;  // the thread's operation, by the server's end

// One write, so that lines of threads do not mix.
void Say(const std::string& text) {
  const std::string line = text + "\n";
  if (write(STDOUT_FILENO, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(4);
}

// What one process shares among its threads.
class Load {
 public:
  Load(std::string address, uint64_t client, std::string flags, std::string token)
      : address_(std::move(address)),
        client_(client),
        flags_(std::move(flags)),
        access_{.token = std::move(token)},
        cache_(address_, access_, 2),
        stub_(v1::Cache::NewStub(ConnectTo(address_, access_))) {}

  // Returns the exit code.
  int Run() {
    const bool is_operator = access_.token.empty() || Has('m');
    const auto ns = cache_.OpenNamespace(ChainIdentity(is_operator ? kChainTenant : ""), kTimeout);
    if (!ns.ok() || ns->block_bytes() != kChainBlockBytes) return Fail(ns.status());
    ns_ = ns->namespace_id();
    const bool shared = Has('m');
    auto session =
        CacheSession::Open(address_, {.access = access_,
                                      .client_name = absl::StrCat("load ", client_),
                                      .shared_memory = shared,
                                      .write_shared_memory = shared,
                                      .ttl = absl::Seconds(30),  // nobody renews the grants
                                      .on_end = [this](const absl::Status&) { ended_.Notify(); }});
    if (!session.ok()) return Fail(session.status());
    session_ = *std::move(session);
    if (shared) {
      auto arena = MappedArena::Map(session_->id(), session_->opened().shared_memory(), kTimeout);
      if (!arena.ok()) return Fail(arena.status());
      arena_ = *std::move(arena);
    }
    // Before it can be killed.
    if (Has('l')) Say(absl::StrCat("acked ", ChainId(client_, 15, 0)));
    Say("ready");
    std::vector<std::thread> threads;
    for (uint64_t t = 0; t < kThreads; ++t) threads.emplace_back([this, t] { Work(t); });
    for (std::thread& thread : threads) thread.join();
    return exit_code_;
  }

 private:
  bool Has(char flag) const { return absl::StrContains(flags_, flag); }

  // Without a server, ends the load; 0: that may be.
  int Fail(const absl::Status& status) {
    stop = broken = true;
    if (status.code() == absl::StatusCode::kUnavailable) return 0;
    std::fprintf(stderr, "service_load: %s\n", status.ToString().c_str());
    return 1;
  }
  // Whether a call went well. What a loaded server may answer leaves the load going on.
  bool Good(const absl::Status& status) {
    if (status.ok()) return true;
    switch (status.code()) {
      case absl::StatusCode::kResourceExhausted:
      case absl::StatusCode::kFailedPrecondition:  // the prefix was evicted
      case absl::StatusCode::kAborted:
      case absl::StatusCode::kDeadlineExceeded:
        return false;
      case absl::StatusCode::kCancelled:  // the server's last resort
      case absl::StatusCode::kNotFound:   // of a session that ended with the server
        // The answer may come before the session's thread has heard of it.
        if (ended_.WaitForNotificationWithTimeout(kTimeout)) {
          stop = broken = true;
          return false;
        }
        [[fallthrough]];
      default:
        if (const int code = Fail(status); code != 0) exit_code_ = code;
        return false;
    }
  }

  void Check(uint64_t chain, int64_t index, absl::string_view bytes) {
    if (IsRightPayload(chain, index, bytes)) return;
    Say(absl::StrCat("wrong ", chain));
    _exit(3);
  }

  std::vector<std::string> Payloads(uint64_t chain) const {
    std::vector<std::string> payloads;
    for (int64_t i = 0; i < ChainBlocks(chain); ++i) payloads.push_back(ChainPayload(chain, i));
    if (Has('s')) payloads.back()[7] ^= 4;
    return payloads;
  }

  void Acked(uint64_t chain) {
    Say(absl::StrCat("acked ", chain));
    absl::MutexLock lock(&mu_);
    acked_.push_back(chain);
  }

  void Put(uint64_t chain) {
    Say(absl::StrCat("putting ", chain));
    const std::vector<uint32_t> tokens = ChainTokens(chain);
    const std::vector<std::string> payloads = Payloads(chain);
    std::vector<PutBlock> blocks;
    for (size_t i = 0; i < payloads.size(); ++i) {
      blocks.push_back(
          {absl::MakeConstSpan(tokens).subspan(i * kChainBlockTokens, kChainBlockTokens),
           payloads[i]});
    }
    const auto put = cache_.Put(ns_, {}, blocks, kTimeout);
    if (Good(put.status()) && put->stored_blocks() == ChainBlocks(chain)) Acked(chain);
  }

  void Get(uint64_t chain) {
    const auto got = cache_.Get(
        ns_, ChainTokens(chain), 0, kTimeout,
        [&](const v1::GetResponse& block) { Check(chain, block.block_index(), block.payload()); });
    Good(got.status());
  }

  // Holds the chain, reads it, and keeps the lease for a while.
  void Acquire(uint64_t chain, std::deque<Lease>* held) {
    auto acquired = session_->Acquire(ns_, ChainTokens(chain), {}, kTimeout);
    if (!Good(acquired.status()) || !acquired->lease) return;
    const v1::LeaseState state = acquired->lease.Wait(absl::Now() + kTimeout);
    if (state.phase() == v1::LEASE_PHASE_READY) {
      if (arena_ != nullptr) {
        for (int i = 0; i < state.places_size(); ++i) {
          const auto bytes = arena_->VerifiedBlock(state.places(i), kChainBlockBytes);
          if (!bytes.ok()) {
            Say(absl::StrCat("wrong ", chain));
            _exit(3);
          }
          Check(chain, state.first_block() + i,
                {reinterpret_cast<const char*>(bytes->data()), bytes->size()});
        }
      } else {
        v1::GetRequest get;
        get.set_session_id(std::string(session_->id()));
        get.set_lease_id(acquired->lease.id());
        const auto got = cache_.Get(get, kTimeout, [&](const v1::GetResponse& block) {
          Check(chain, block.block_index(), block.payload());
        });
        Good(got.status());
      }
    }
    held->push_back(std::move(acquired->lease));
    if (held->size() > kHeldLeases) held->pop_front();
  }

  // Grants, writes and seals: Put in shared memory.
  void Seal(uint64_t chain) {
    v1::GrantRequest wanted;
    wanted.set_session_id(std::string(session_->id()));
    wanted.set_namespace_id(ns_);
    wanted.set_num_blocks(static_cast<int32_t>(ChainBlocks(chain)));
    v1::GrantResponse granted;
    if (!Call(&v1::Cache::Stub::Grant, wanted, &granted)) return;
    Say(absl::StrCat("putting ", chain));
    const std::vector<uint32_t> tokens = ChainTokens(chain);
    const std::vector<std::string> payloads = Payloads(chain);
    v1::SealRequest request;
    request.set_session_id(wanted.session_id());
    request.set_namespace_id(ns_);
    for (int i = 0; i < granted.slots_size(); ++i) {
      const auto slot = arena_->Slot(granted.slots(i), kChainBlockBytes);
      if (!slot.ok()) std::abort();
      const std::string& payload = payloads[static_cast<size_t>(i)];
      std::memcpy(slot->data(), payload.data(), payload.size());
      v1::SealBlock& block = *request.add_blocks();
      block.set_grant_id(granted.slots(i).grant_id());
      const auto begin = tokens.begin() + i * kChainBlockTokens;
      block.mutable_token_ids()->Assign(begin, begin + kChainBlockTokens);
    }
    v1::PutResponse sealed;
    if (!Call(&v1::Cache::Stub::Seal, request, &sealed)) return;
    if (sealed.stored_blocks() == ChainBlocks(chain)) Acked(chain);
  }

  template <typename Request, typename Response>
  bool Call(grpc::Status (v1::Cache::Stub::*method)(grpc::ClientContext*, const Request&,
                                                    Response*),
            const Request& request, Response* response) {
    grpc::ClientContext context;
    SetTimeout(kTimeout, &context);
    const grpc::Status status = (stub_.get()->*method)(&context, request, response);
    return Good({static_cast<absl::StatusCode>(status.error_code()), status.error_message()});
  }

  // Says of what was acknowledged before a demotion, and is on disk alone after it, that it is
  // durable; asks again for the others later.
  void Demote() {
    std::vector<uint64_t> waiting;
    {
      absl::MutexLock lock(&mu_);
      waiting.swap(acked_);
    }
    if (!Good(cache_.Demote(kTimeout).status())) return;
    std::vector<uint64_t> in_ram;
    for (const uint64_t chain : waiting) {
      const auto match = cache_.Match(ns_, ChainTokens(chain), kTimeout);
      if (!Good(match.status())) return;
      if (match->ram_blocks() == 0 && match->disk_blocks() == ChainBlocks(chain)) {
        Say(absl::StrCat("durable ", chain));
      } else {
        in_ram.push_back(chain);
      }
    }
    absl::MutexLock lock(&mu_);
    acked_.insert(acked_.end(), in_ram.begin(), in_ram.end());
  }

  void Work(uint64_t thread) {
    std::mt19937_64 random(MixBits(client_ * kThreads + thread));
    std::deque<Lease> held;
    uint64_t chains = 0;
    while (!stop) {
      const uint64_t old = ChainId(client_, thread, chains == 0 ? 0 : random() % chains);
      const uint64_t draw = random() % 100;
      if (Has('d') && thread == 0 && draw < 20) {
        Do(thread, "demote", [&] { Demote(); });
      } else if (draw < 30) {
        Do(thread, "put", [&] { Put(ChainId(client_, thread, chains++)); });
      } else if (draw < 50 && arena_ != nullptr) {
        Do(thread, "seal", [&] { Seal(ChainId(client_, thread, chains++)); });
      } else if (draw < 75) {
        Do(thread, "get", [&] { Get(old); });
      } else {
        Do(thread, "acquire", [&] { Acquire(old, &held); });
      }
      if (draw % 16 == 0) held.clear();
    }
  }

  template <typename Operation>
  void Do(uint64_t thread, const char* name, const Operation& operation) {
    Say(absl::StrCat("begin ", thread, " ", name));
    operation();
    if (!broken) Say(absl::StrCat("end ", thread));
  }

  const std::string address_;
  const uint64_t client_;
  const std::string flags_;
  const ClientAccess access_;
  CacheClient cache_;
  const std::unique_ptr<v1::Cache::Stub> stub_;
  uint32_t ns_ = 0;
  std::unique_ptr<MappedArena> arena_;  // null: no shared memory
  absl::Notification ended_;            // the session's end
  std::unique_ptr<CacheSession> session_;
  std::atomic<int> exit_code_ = 0;
  absl::Mutex mu_;
  std::vector<uint64_t> acked_ ABSL_GUARDED_BY(mu_);  // and not durable yet
};

}  // namespace
}  // namespace reprise::api

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  signal(SIGTERM, [](int) { reprise::api::stop = true; });
  signal(SIGPIPE, SIG_IGN);
  return reprise::api::Load(argv[1], std::strtoull(argv[2], nullptr, 10), argv[3],
                            argc > 4 ? argv[4] : "")
      .Run();
}
