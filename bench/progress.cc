#include "bench/progress.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace reprise::bench {
namespace {

bool OnTerminal() { return isatty(STDERR_FILENO) == 1; }

}  // namespace

Progress::Progress(std::string what, int64_t total)
    : what_(std::move(what)),
      total_(total),
      start_(absl::Now()),
      interval_(OnTerminal() ? absl::Milliseconds(200) : absl::Seconds(10)) {}

Progress::~Progress() {
  if (OnTerminal()) absl::FPrintF(stderr, "\r\033[K");
}

void Progress::Update(int64_t done, absl::string_view note) {
  const absl::Time now = absl::Now();
  if (now - last_shown_ < interval_) return;
  last_shown_ = now;
  absl::FPrintF(stderr, "%s%s: %d of %d, %.0f s  %s%s", OnTerminal() ? "\r\033[K" : "", what_, done,
                total_, absl::ToDoubleSeconds(now - start_), note, OnTerminal() ? "" : "\n");
}

}  // namespace reprise::bench
