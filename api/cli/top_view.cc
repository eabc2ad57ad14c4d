#include "api/cli/top_view.h"

#include <algorithm>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "api/cli/table.h"

namespace reprise::api {
namespace {

using Counters = google::protobuf::Map<std::string, int64_t>;

int64_t ValueOf(const Counters& counters, const std::string& name) {
  const auto found = counters.find(name);
  return found == counters.end() ? 0 : found->second;
}

// The counters of one part of the server, now and before.
class Part {
 public:
  Part(const Counters* before, const Counters& now, double seconds)
      : before_(before), now_(now), seconds_(seconds) {}

  int64_t operator[](const std::string& name) const { return ValueOf(now_, name); }
  // What has come to a counter since; all of it, when there was nothing before.
  int64_t Gain(const std::string& name) const {
    return ValueOf(now_, name) - (before_ == nullptr ? 0 : ValueOf(*before_, name));
  }
  // "1,234/s"; "-" when there was nothing before.
  std::string Rate(const std::string& name) const {
    if (before_ == nullptr || seconds_ <= 0) return "-";
    return absl::StrCat(
        WithThousands(static_cast<int64_t>(static_cast<double>(Gain(name)) / seconds_ + 0.5)),
        "/s");
  }
  bool has_before() const { return before_ != nullptr; }

 private:
  const Counters* const before_;
  const Counters& now_;
  const double seconds_;
};

std::string Percent(int64_t part, int64_t whole) {
  if (whole <= 0) return "-";
  return absl::StrFormat("%.1f %%", 100 * static_cast<double>(part) / static_cast<double>(whole));
}

constexpr const char* kTiers[] = {"gpu", "ram", "disk"};

std::string TiersText(const Part& store) {
  Table table({"tier", "used", "capacity", "full", "blocks", "hit tokens", "hits now"});
  for (const std::string tier : kTiers) {
    const int64_t capacity = store[tier + "_capacity_bytes"];
    if (capacity == 0) continue;
    const int64_t used = store[tier + "_used_bytes"];
    const std::string hits = absl::StrCat("hit_", tier, "_tokens");
    table.AddRow({tier, BytesText(used), BytesText(capacity), Percent(used, capacity),
                  WithThousands(store[tier + "_blocks"]), WithThousands(store[hits]),
                  store.Rate(hits)});
  }
  std::ostringstream out;
  table.Print(out);
  return out.str();
}

std::string HitsText(const Part& store) {
  int64_t hits = 0;
  int64_t new_hits = 0;
  for (const std::string tier : kTiers) {
    hits += store[absl::StrCat("hit_", tier, "_tokens")];
    new_hits += store.Gain(absl::StrCat("hit_", tier, "_tokens"));
  }
  const std::string now =
      store.has_before() ? Percent(new_hits, store.Gain("looked_up_tokens")) : "-";
  return absl::StrCat("hit rate  now ", now, ", since the start ",
                      Percent(hits, store["looked_up_tokens"]), " of ",
                      WithThousands(store["looked_up_tokens"]), " tokens looked up (",
                      store.Rate("looked_up_tokens"), ")\n");
}

std::string MovesText(const Part& store, const Part& sessions) {
  Table table({"blocks", "stored", "loaded", "to disk", "dropped", "loading", "storing", "erasing",
               "queued", "pinned"});
  table.AddRow({"now", store.Rate("sealed_blocks"), store.Rate("promoted_blocks"),
                store.Rate("demoted_blocks"), store.Rate("dropped_blocks"),
                WithThousands(store["loading_blocks"]), WithThousands(store["storing_blocks"]),
                WithThousands(store["erasing_blocks"]), WithThousands(store["queued_transfers"]),
                WithThousands(store["pinned_blocks"])});
  table.AddRow({"since start", WithThousands(store["sealed_blocks"]),
                WithThousands(store["promoted_blocks"]), WithThousands(store["demoted_blocks"]),
                WithThousands(store["dropped_blocks"]), "", "", "", "", ""});
  std::ostringstream out;
  table.Print(out);
  out << "waiting   " << WithThousands(store["loading_tickets"]) << " prefixes being loaded ("
      << WithThousands(store["starving_tickets"]) << " without a slot), "
      << WithThousands(store["waiting_allocations"]) << " writers for room\n"
      << "sessions  " << WithThousands(sessions["sessions"]) << " with "
      << WithThousands(sessions["leases"]) << " leases and " << WithThousands(sessions["grants"])
      << " grants, which hold " << BytesText(sessions["held_bytes"]) << "; "
      << WithThousands(sessions["prefetches"]) << " prefetches\n";
  return out.str();
}

std::string EngineText(const Part& engine) {
  return absl::StrCat("engine    ", WithThousands(engine["running_requests"]), " running, ",
                      WithThousands(engine["waiting_requests"]), " waiting; prefilled ",
                      engine.Rate("prefilled_tokens"), ", decoded ", engine.Rate("decoded_tokens"),
                      " tokens\n");
}

std::string NamespacesText(const v1::UsageResponse& usage, size_t max_namespaces) {
  struct Row {
    int64_t bytes = 0;
    std::vector<std::string> cells;
  };
  std::vector<Row> rows;
  for (const v1::TenantUsage& tenant : usage.tenants()) {
    for (const v1::NamespaceUsage& ns : tenant.namespaces()) {
      Row row;
      std::string tiers;
      int64_t blocks = 0;
      for (const v1::TierUsage& tier : ns.tiers()) {
        row.bytes += tier.bytes();
        blocks += tier.blocks();
        absl::StrAppend(&tiers, tiers.empty() ? "" : ", ", tier.tier(), " ",
                        BytesText(tier.bytes()));
      }
      row.cells = {tenant.tenant(),       ns.name().model_digest().substr(0, 12),
                   ns.name().salt(),      BytesText(row.bytes),
                   WithThousands(blocks), tiers};
      rows.push_back(std::move(row));
    }
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.bytes > b.bytes; });
  Table table({"tenant", "model", "salt", "size", "copies", "in"});
  for (size_t i = 0; i < std::min(rows.size(), max_namespaces); ++i) table.AddRow(rows[i].cells);
  std::ostringstream out;
  table.Print(out);
  if (rows.size() > max_namespaces) {
    out << "and " << rows.size() - max_namespaces << " more namespaces\n";
  }
  return out.str();
}

// Whether a counter is below what it was: the server was started anew, and counts from nothing.
bool HasFallen(const Counters& before, const Counters& now) {
  for (const char* name : {"looked_up_tokens", "sealed_blocks", "promoted_blocks", "demoted_blocks",
                           "dropped_blocks", "prefilled_tokens", "decoded_tokens"}) {
    if (ValueOf(now, name) < ValueOf(before, name)) return true;
  }
  return false;
}

}  // namespace

std::string TopText(const TopSample* before, const TopSample& now, size_t max_namespaces) {
  if (before != nullptr && (HasFallen(before->stats.store(), now.stats.store()) ||
                            HasFallen(before->stats.engine(), now.stats.engine()))) {
    before = nullptr;
  }
  const double seconds = before == nullptr ? 0 : absl::ToDoubleSeconds(now.time - before->time);
  const auto part = [&](const Counters& (v1::StatsResponse::*counters)() const) {
    return Part(before == nullptr ? nullptr : &(before->stats.*counters)(), (now.stats.*counters)(),
                seconds);
  };
  const Part store = part(&v1::StatsResponse::store);
  std::string text = absl::StrCat(HitsText(store), "\n", TiersText(store), "\n",
                                  MovesText(store, part(&v1::StatsResponse::sessions)));
  if (now.stats.engine_size() > 0)
    absl::StrAppend(&text, EngineText(part(&v1::StatsResponse::engine)));
  absl::StrAppend(&text, "\n", NamespacesText(now.usage, max_namespaces));
  return text;
}

}  // namespace reprise::api
