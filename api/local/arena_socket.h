// ArenaSocket: a Unix socket where clients on this host get the RAM tier's memory. A client sends
// the 16 bytes of its session's id and gets one byte with the arena's file (SCM_RIGHTS): a
// description through which nothing can be written, or, if the session asked to write, one that
// can. Then the connection says that the client lives: what its session could see or write is not
// used for anything else until it hangs up, also by dying (SessionAnchor).
//
// Only processes of the server's own user, or root's, are let in (SO_PEERCRED); others, and those
// without a session, are hung up on and logged. Owns the socket, its file and one thread.
// Thread-compatible.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "api/session/session_table.h"
#include "cachestore/memory/host_arena.h"

namespace reprise::api {

class ArenaSocket {
 public:
  struct Options {
    std::string path;                            // at most 107 bytes; a file of its own, mode 0600
    uid_t user;                                  // who is let in, besides root
    int max_connections = 1024;                  // more are hung up on
    absl::Duration patience = absl::Seconds(5);  // with a client that has not sent its session's id
  };

  // Listens. `arena` and `sessions` outlive the socket. kUnavailable: `path` cannot be listened on
  // (another server does, or it is a file of another kind); kInternal: as HostArena::OpenReadOnly.
  static absl::StatusOr<std::unique_ptr<ArenaSocket>> Listen(const Options& options,
                                                             const cachestore::HostArena& arena,
                                                             SessionTable* sessions);
  // Hangs up on everybody: what clients could see or write may be used for other blocks from then
  // on, so the store must not be used any more by others.
  ~ArenaSocket();
  ArenaSocket(const ArenaSocket&) = delete;
  ArenaSocket& operator=(const ArenaSocket&) = delete;

 private:
  class Descriptor;
  struct Connection;

  ArenaSocket(const Options& options, SessionTable* sessions);

  // The thread.
  void Run();
  void Accept();
  // What a connection has to say; false: hang up.
  bool Hear(Connection& connection);
  // Lets in the client of the session; kPermissionDenied and the like: it is not.
  absl::Status Admit(Connection& connection);
  int PollTimeoutMilliseconds() const;

  const Options options_;
  SessionTable* const sessions_;
  std::unique_ptr<Descriptor> listener_;
  std::unique_ptr<Descriptor> stop_;      // an eventfd: written when the thread shall end
  std::unique_ptr<Descriptor> readable_;  // the arena's file
  std::unique_ptr<Descriptor> writable_;
  std::vector<std::unique_ptr<Connection>> connections_;  // the thread's
  absl::Time accept_from_ = absl::InfinitePast();         // the thread's: not before
  std::thread thread_;
};

}  // namespace reprise::api
