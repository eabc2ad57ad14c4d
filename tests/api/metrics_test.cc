#include "api/http/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "api/cli/text_file.h"
#include "api/stats_codec.h"

namespace reprise::api {
namespace {

using ::testing::HasSubstr;

// Name to "type|label=value, ..." of a family, labels in order.
using Table = std::map<std::string, std::string>;

// What the text of a scrape tells.
Table Scraped(const std::string& text) {
  std::map<std::string, std::string> types;
  std::map<std::string, std::set<std::string>> labels;
  std::set<std::string> all;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (absl::ConsumePrefix(&line, "# TYPE ")) {
      const std::vector<std::string> words = absl::StrSplit(line, ' ');
      EXPECT_TRUE(types.emplace(words[0], words[1]).second) << words[0] << " is there twice";
    } else if (!absl::StartsWith(line, "#")) {
      const std::string series(line.substr(0, line.find(' ')));
      EXPECT_TRUE(all.insert(series).second) << series << " is there twice";
      const size_t brace = series.find('{');
      std::string family = series.substr(0, brace);
      for (const char* part : {"_bucket", "_sum", "_count"}) {
        const std::string whole(absl::StripSuffix(family, part));
        if (types[whole] == "histogram") family = whole;
      }
      std::set<std::string>& of_family = labels[family];
      if (brace == std::string::npos) continue;
      std::string text_of_labels = series.substr(brace + 1, series.size() - brace - 2);
      text_of_labels.erase(std::remove(text_of_labels.begin(), text_of_labels.end(), '"'),
                           text_of_labels.end());
      for (const absl::string_view label : absl::StrSplit(text_of_labels, ',')) {
        if (!absl::StartsWith(label, "le=")) of_family.emplace(label);
      }
    }
  }
  Table table;
  for (const auto& [name, type] : types) {
    if (type.empty()) continue;  // was asked for above, and is no family
    table[name] = absl::StrCat(type, "|", absl::StrJoin(labels[name], ", "));
  }
  return table;
}

// What README.md lists: rows "| `name` | type | labels | what |".
Table Documented() {
  const auto readme = ReadFile(REPRISE_SOURCE_DIR "/api/http/README.md");
  EXPECT_TRUE(readme.ok()) << readme.status();
  Table table;
  for (const absl::string_view line : absl::StrSplit(*readme, '\n')) {
    if (!absl::StartsWith(line, "| `reprise_")) continue;
    const std::vector<std::string> cells = absl::StrSplit(line, '|');
    EXPECT_EQ(cells.size(), 6u) << line;
    std::string name(absl::StripAsciiWhitespace(cells[1]));
    name.erase(std::remove(name.begin(), name.end(), '`'), name.end());
    std::set<std::string> labels;
    const absl::string_view cell = absl::StripAsciiWhitespace(cells[3]);
    // label: value, value; label: value
    for (const absl::string_view label : absl::StrSplit(cell, "; ", absl::SkipEmpty())) {
      const std::vector<std::string> halves = absl::StrSplit(label, ": ");
      EXPECT_EQ(halves.size(), 2u) << line;
      for (const absl::string_view value : absl::StrSplit(halves[1], ", ")) {
        labels.insert(absl::StrCat(halves[0], "=", value));
      }
    }
    EXPECT_TRUE(table
                    .emplace(name, absl::StrCat(absl::StripAsciiWhitespace(cells[2]), "|",
                                                absl::StrJoin(labels, ", ")))
                    .second)
        << line;
  }
  return table;
}

TEST(MetricsTest, TheReadmeListsEverySeriesAndNoOther) {
  const Table scraped = Scraped(MetricsText({}));
  EXPECT_GT(scraped.size(), 40u);
  EXPECT_EQ(Documented(), scraped);
}

TEST(MetricsTest, NamesSayUnitAndKind) {
  for (const auto& [name, what] : Scraped(MetricsText({}))) {
    EXPECT_EQ(absl::EndsWith(name, "_total"), absl::StartsWith(what, "counter")) << name;
    EXPECT_EQ(name.find("_us"), name.find("_used")) << name;
    EXPECT_THAT(name, Not(HasSubstr("_ms")));
  }
}

TEST(MetricsTest, EveryStatisticIsThere) {
  v1::StatsResponse stats;
  ToProto(cachestore::StoreStats(), &stats);
  ToProto(engine::EngineStats(), &stats);
  ToProto(LeaseStats::Values(), &stats);
  size_t series = 0;
  for (const absl::string_view line : absl::StrSplit(MetricsText({}), '\n', absl::SkipEmpty())) {
    const bool is_bucket = absl::StartsWith(line, "reprise_transfer_seconds");
    if (!absl::StartsWith(line, "#") && !is_bucket) ++series;
  }
  // Without the sum missed_tokens, and with what is an array, what the HTTP server says of itself,
  // and three of recordings.
  EXPECT_EQ(series, stats.store().size() - 1 + stats.engine().size() + stats.sessions().size() +
                        cachestore::kNumRemovals * cachestore::kNumCacheTiers + 2 + 3);
}

TEST(MetricsTest, BucketsCountAllThatTookNoLonger) {
  MetricsInput input;
  input.store.load_from_disk.Add(absl::Microseconds(20), 3);
  input.store.load_from_disk.Add(absl::Seconds(100));
  const std::string text = MetricsText(input);
  const auto line = [](const char* bound, int count) {
    return absl::StrCat("reprise_transfer_seconds_bucket{transfer=\"disk_to_ram\",le=\"", bound,
                        "\"} ", count, "\n");
  };
  EXPECT_THAT(text, HasSubstr(line("1.6e-05", 0)));
  EXPECT_THAT(text, HasSubstr(line("3.2e-05", 3)));
  EXPECT_THAT(text, HasSubstr(line("8.388608", 3)));
  EXPECT_THAT(text, HasSubstr(line("+Inf", 4)));
  EXPECT_THAT(text, HasSubstr("reprise_transfer_seconds_count{transfer=\"disk_to_ram\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("reprise_transfer_seconds_count{transfer=\"gpu_to_ram\"} 0\n"));
}

TEST(MetricsTest, ValuesAreInBaseUnits) {
  MetricsInput input;
  input.ready = true;
  input.http_connections = 3;
  input.store.hit_disk_tokens = 5;
  input.store.missed_no_room_tokens = 6;
  input.store.load_latency_us = 1500;
  input.store.ram_capacity_bytes = int64_t{1} << 40;
  input.engine.failed_requests = 7;
  input.sessions.advice_regret_us = 250000;
  input.store.removed_blocks[3][2] = 8;
  const std::string text = MetricsText(input);
  for (const char* line : {"reprise_ready 1\n", "reprise_http_connections 3\n",
                           "reprise_hit_tokens_total{tier=\"disk\"} 5\n",
                           "reprise_miss_tokens_total{reason=\"no_room\"} 6\n",
                           "reprise_disk_load_latency_seconds 0.0015\n",
                           "reprise_capacity_bytes{tier=\"ram\"} 1099511627776\n",
                           "reprise_requests_total{outcome=\"failed\"} 7\n",
                           "reprise_advice_regret_seconds_total 0.25\n",
                           "reprise_removed_blocks_total{reason=\"lost\",tier=\"disk\"} 8\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(MetricsTest, CallsAreToldByTheirTimeToTheFirstAnswer) {
  MetricsInput input;
  CallTimes times;
  times.Add("POST /v1/completions", absl::Microseconds(20));
  times.Add("reprise.v1.Cache/Match", absl::Microseconds(20));
  times.Add("reprise.v1.Cache/Match", absl::Seconds(100));
  for (int i = 0; i < 1000; ++i) times.Add(absl::StrCat("made up ", i), absl::Seconds(1));
  EXPECT_EQ(times.Read().size(), 128u) << "names are bounded";
  input.calls = times.Read();
  const std::string text = MetricsText(input);
  for (const char* line :
       {"reprise_first_answer_seconds_count{rpc=\"reprise.v1.Cache/Match\"} 2\n",
        "reprise_first_answer_seconds_bucket{rpc=\"reprise.v1.Cache/Match\",le=\"8.388608\"} 1\n",
        "reprise_first_answer_seconds_count{rpc=\"POST /v1/completions\"} 1\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(MetricsTest, ACertificateTellsHowLongItLasts) {
  const std::string name = "\nreprise_tls_certificate_expires_seconds ";
  EXPECT_THAT(MetricsText({}), Not(HasSubstr(name)));
  const std::string text = MetricsText({.certificate_ends = absl::Now() - absl::Hours(1)});
  EXPECT_THAT(text, HasSubstr(name + "-36"));
}

TEST(MetricsTest, TenantsWithAQuotaAreTold) {
  MetricsInput input;
  input.tenants = {{.tenant = "alice",
                    .quota = {.ram_bytes = 4096, .disk_bytes = 0},
                    .used = {.ram_bytes = 1024, .disk_bytes = 9}}};
  const std::string text = MetricsText(input);
  EXPECT_THAT(text, HasSubstr("reprise_tenant_quota_bytes{tenant=\"alice\",tier=\"ram\"} 4096\n"));
  EXPECT_THAT(text, HasSubstr("reprise_tenant_used_bytes{tenant=\"alice\",tier=\"ram\"} 1024\n"));
  EXPECT_THAT(text, Not(HasSubstr("tier=\"disk\"} 9\n"))) << "it has no quota of that";
}

TEST(MetricsTest, WhatOtherSizesWouldHaveSavedIsToldOfAllAndOfTenantsWithAQuota) {
  MetricsInput input;
  input.tenants = {{.tenant = "alice", .quota = {.ram_bytes = 4096, .disk_bytes = 0}, .used = {}}};
  input.what_if.all = {.tenant = "",
                       .looked_up_tokens = 1000,
                       .ram = {{.factor = 0.5, .bytes = 1, .hit_tokens = 250}},
                       .disk = {{.factor = 4, .bytes = 8, .hit_tokens = 900}}};
  input.what_if.tenants = {
      {.tenant = "alice",
       .looked_up_tokens = 400,
       .ram = {{.factor = 2, .bytes = 4, .hit_tokens = 300}},
       .disk = {}},
      {.tenant = "bob", .looked_up_tokens = 600, .ram = {{.factor = 2}}, .disk = {}}};
  EXPECT_THAT(MetricsText(input), Not(HasSubstr("_saved_seconds{"))) << "the rate is not known";
  input.engine.prefill_tokens_per_second = 100;
  const std::string text = MetricsText(input);
  for (const char* line :
       {"reprise_whatif_hit_ratio{tier=\"ram\",factor=\"0.5\"} 0.25\n",
        "reprise_whatif_saved_tokens{tier=\"disk\",factor=\"4\"} 900\n",
        "reprise_whatif_saved_seconds{tier=\"disk\",factor=\"4\"} 9\n",
        "reprise_tenant_whatif_hit_ratio{tenant=\"alice\",tier=\"ram\",factor=\"2\"} 0.75\n",
        "reprise_tenant_whatif_saved_tokens{tenant=\"alice\",tier=\"ram\",factor=\"2\"} 300\n",
        "reprise_tenant_whatif_saved_seconds{tenant=\"alice\",tier=\"ram\",factor=\"2\"} 3\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("bob"))) << "it has no quota";
}

}  // namespace
}  // namespace reprise::api
