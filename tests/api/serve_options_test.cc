#include "api/serve_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/fakes/temp_folder.h"

namespace reprise::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// `reprise serve` up to the point where the server would start.
class ServeOptionsTest : public ::testing::Test {
 protected:
  ServeOptionsTest() : program_("reprise", "test") {
    FlagSet& serve = program_.AddCommand("serve", "serve");
    AddServeFlags(serve, &options_);
    serve.SetAction([this] {
      ++actions_;
      return 0;
    });
  }

  int Run(std::vector<std::string> flags) {
    flags.insert(flags.begin(), "serve");
    return program_.Run(flags, out_, err_);
  }

  std::string WriteConfig(const std::string& text) {
    const std::string path = folder_ / "serve.toml";
    std::ofstream(path) << text;
    return path;
  }

  TempFolder folder_;
  ServeOptions options_;
  FlagSet program_;
  std::ostringstream out_;
  std::ostringstream err_;
  int actions_ = 0;
};

TEST_F(ServeOptionsTest, DefaultsAreLocalAndValid) {
  EXPECT_EQ(Run({}), 0);
  EXPECT_EQ(actions_, 1);
  EXPECT_EQ(options_.listen, "127.0.0.1:50051");
  EXPECT_TRUE(options_.store.disk.directory.empty());
  EXPECT_TRUE(options_.Validate().ok()) << options_.Validate();
}

TEST_F(ServeOptionsTest, EveryFlagReachesItsOption) {
  EXPECT_EQ(Run({"--model",
                 "m",
                 "--listen",
                 "unix:/s",
                 "--http-listen",
                 "127.0.0.1:8080",
                 "--http-host",
                 "Chat.example,10.0.0.1, ::2",
                 "--ram-bytes",
                 "512MiB",
                 "--disk-dir",
                 "d",
                 "--disk-bytes",
                 "8GB",
                 "--disk-admission",
                 "useful",
                 "--eviction",
                 "lru",
                 "--block-tokens",
                 "32",
                 "--kv-dtype",
                 "int8",
                 "--device",
                 "cuda",
                 "--gpu-bytes",
                 "3GiB",
                 "--step-tokens",
                 "64",
                 "--max-running",
                 "3",
                 "--max-waiting",
                 "4",
                 "--shutdown-grace",
                 "2.5",
                 "--allow-insecure-remote"}),
            0)
      << err_.str();
  EXPECT_EQ(options_.engine.model_folder, "m");
  EXPECT_EQ(options_.listen, "unix:/s");
  EXPECT_EQ(options_.http_listen, "127.0.0.1:8080");
  EXPECT_THAT(options_.HttpHosts(), ::testing::ElementsAre("chat.example", "10.0.0.1", "::2"));
  EXPECT_EQ(options_.store.ram.capacity_bytes, int64_t{512} << 20);
  EXPECT_EQ(options_.store.disk.directory, "d");
  EXPECT_EQ(options_.store.disk.capacity_bytes, int64_t{8000000000});
  EXPECT_EQ(options_.store.disk.admission, cachestore::DiskAdmission::kUseful);
  EXPECT_EQ(options_.store.eviction, cachestore::EvictionOrder::kLru);
  EXPECT_EQ(options_.engine.block_tokens, 32);
  EXPECT_EQ(options_.ForDevice().engine.kv_dtype, cachestore::DType::kInt8);
  EXPECT_EQ(options_.ForDevice().store.gpu.capacity_bytes, int64_t{3} << 30);
  EXPECT_EQ(options_.engine.step_tokens, 64);
  EXPECT_EQ(options_.engine.max_running, 3);
  EXPECT_EQ(options_.engine.max_waiting, 4);
  EXPECT_EQ(options_.shutdown_grace_seconds, 2.5);
  EXPECT_TRUE(options_.allow_insecure_remote);
}

TEST_F(ServeOptionsTest, TheOtherAdmissionsAreTaken) {
  EXPECT_EQ(Run({"--disk-dir", "d"}), 0) << err_.str();
  EXPECT_EQ(options_.store.disk.admission, cachestore::DiskAdmission::kAll);
  EXPECT_EQ(Run({"--disk-dir", "d", "--disk-admission", "likely"}), 0) << err_.str();
  EXPECT_EQ(options_.store.disk.admission, cachestore::DiskAdmission::kLikely);
}

TEST_F(ServeOptionsTest, ConfigFileTakesEverythingThatFlagsTake) {
  const std::string path = WriteConfig(
      "# a comment\n"
      "model = \"m\"\nlisten = \"unix:/s\"\nram-bytes = \"512MiB\"\ndisk-dir = 'd'\n"
      "disk-bytes = 8000000000\ndisk-admission = useful\neviction = lru\nblock-tokens = 32\n"
      "kv-dtype = int8\ndevice = cuda\ngpu-bytes = 3GiB\nstep-tokens = 64\nmax-running "
      "= 3\n"
      "max-waiting = 4\nshutdown-grace = 2.5\nallow-insecure-remote = true\n");
  EXPECT_EQ(Run({"--config", path}), 0) << err_.str();
  EXPECT_EQ(options_.engine.model_folder, "m");
  EXPECT_EQ(options_.listen, "unix:/s");
  EXPECT_EQ(options_.store.ram.capacity_bytes, int64_t{512} << 20);
  EXPECT_EQ(options_.store.disk.directory, "d");
  EXPECT_EQ(options_.store.disk.capacity_bytes, int64_t{8000000000});
  EXPECT_EQ(options_.store.disk.admission, cachestore::DiskAdmission::kUseful);
  EXPECT_EQ(options_.store.eviction, cachestore::EvictionOrder::kLru);
  EXPECT_EQ(options_.engine.block_tokens, 32);
  EXPECT_EQ(options_.ForDevice().engine.kv_dtype, cachestore::DType::kInt8);
  EXPECT_EQ(options_.ForDevice().store.gpu.capacity_bytes, int64_t{3} << 30);
  EXPECT_EQ(options_.engine.step_tokens, 64);
  EXPECT_EQ(options_.engine.max_running, 3);
  EXPECT_EQ(options_.engine.max_waiting, 4);
  EXPECT_EQ(options_.shutdown_grace_seconds, 2.5);
  EXPECT_TRUE(options_.allow_insecure_remote);
}

TEST_F(ServeOptionsTest, HttpListensWhereNobodyReadsTokensAlong) {
  EXPECT_EQ(Run({}), 0);
  EXPECT_EQ(options_.http_listen, "");
  const auto cause = [this](const std::vector<std::string>& flags) {
    options_ = ServeOptions();
    EXPECT_EQ(Run(flags), 0) << err_.str();
    return std::string(options_.Validate().message());
  };
  EXPECT_EQ(cause({"--http-listen", "127.0.0.1:8080"}), "");
  EXPECT_EQ(cause({"--http-listen", "unix:/h", "--credentials", "c"}), "");
  EXPECT_THAT(cause({"--http-listen", "0.0.0.0:8080"}),
              AllOf(HasSubstr("--http-listen 0.0.0.0:8080"), HasSubstr("neither encryption nor")));
  EXPECT_EQ(cause({"--http-listen", "0.0.0.0:8080", "--allow-insecure-remote"}), "");
  EXPECT_THAT(
      cause({"--http-listen", "0.0.0.0:8080", "--allow-insecure-remote", "--credentials", "c"}),
      HasSubstr("tokens"));
  EXPECT_THAT(cause({"--http-listen", "8080"}), HasSubstr("HOST:PORT"));
  for (const char* host : {"http://a", "a:80", "[::1]"}) {
    EXPECT_THAT(cause({"--http-listen", "127.0.0.1:8080", "--http-host", host}),
                HasSubstr("--http-host"));
  }
  // In TLS it asks as gRPC does.
  const std::vector<std::string> mutual = {"--tls-cert",      "c", "--tls-key",    "k",
                                           "--tls-client-ca", "a", "--http-listen"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> flags = mutual;
    flags.insert(flags.end(), more.begin(), more.end());
    return cause(flags);
  };
  EXPECT_EQ(with({"127.0.0.1:8080"}), "");
  EXPECT_EQ(with({"0.0.0.0:8080"}), "");
  EXPECT_EQ(with({"unix:/h"}), "");
  EXPECT_EQ(with({"127.0.0.1:8080", "--credentials", "c"}), "");
}

TEST_F(ServeOptionsTest, AnUnknownKvDTypeIsRefusedWithTheKnownOnes) {
  EXPECT_EQ(Run({"--model", "m"}), 0);
  EXPECT_EQ(options_.ForDevice().engine.kv_dtype, cachestore::DType::kF32);
  EXPECT_EQ(Run({"--model", "m", "--kv-dtype", "fp64"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("\"fp64\" is not one of fp32, fp16, bf16, fp8, int8, int4"));
}

TEST_F(ServeOptionsTest, ADeviceChoosesItsKvDTypeAndWhereBlocksLive) {
  EXPECT_EQ(Run({"--model", "m"}), 0);
  EXPECT_EQ(options_.ForDevice().store.gpu.capacity_bytes, 0);
  EXPECT_EQ(Run({"--model", "m", "--device", "cuda"}), 0) << err_.str();
  EXPECT_EQ(options_.ForDevice().engine.kv_dtype, cachestore::DType::kBF16);
  EXPECT_EQ(options_.ForDevice().store.gpu.capacity_bytes, int64_t{1} << 30);
  EXPECT_TRUE(options_.ForDevice().Validate().ok());
  EXPECT_EQ(Run({"--model", "m", "--device", "cuda", "--kv-dtype", "fp32"}), 0);
  EXPECT_EQ(options_.ForDevice().engine.kv_dtype, cachestore::DType::kF32);
  EXPECT_EQ(Run({"--model", "m", "--device", "cuda", "--gpu-bytes", "0"}), 0);
  EXPECT_THAT(std::string(options_.ForDevice().Validate().message()),
              HasSubstr("--gpu-bytes is 0"));
  EXPECT_EQ(Run({"--model", "m", "--device", "cpu", "--threads", "2"}), 0) << err_.str();
  EXPECT_EQ(options_.engine.num_threads, 2);
  EXPECT_EQ(Run({"--model", "m", "--device", "tpu"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("\"tpu\" is not one of cpu, cuda"));
}

TEST_F(ServeOptionsTest, WhatTheOtherDeviceTakesIsWrongUsage) {
  EXPECT_EQ(Run({"--model", "m", "--device", "cpu", "--gpu-bytes", "1GiB"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--gpu-bytes excludes --device cpu"));
  EXPECT_EQ(Run({"--config", WriteConfig("model = m\ndevice = cuda\n"), "--threads", "2"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--threads excludes --device cuda"));
}

TEST_F(ServeOptionsTest, FlagsOnTheCommandLineWinOverTheConfigFile) {
  const std::string path = WriteConfig("[serve]\nmodel = m\nthreads = 2\nmax-running = 3\n");
  EXPECT_EQ(Run({"--config", path, "--threads", "7"}), 0) << err_.str();
  EXPECT_EQ(options_.engine.num_threads, 7);
  EXPECT_EQ(options_.engine.max_running, 3);
}

TEST_F(ServeOptionsTest, AnUnknownKeyInTheConfigFileIsNamed) {
  const std::string path = WriteConfig("threads = 2\nram-size = 3\n");
  EXPECT_EQ(Run({"--config", path}), 2);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr(path), HasSubstr("\"ram-size\"")));
  EXPECT_EQ(actions_, 0);
}

TEST_F(ServeOptionsTest, AKeyUnderAForeignSectionIsUnknown) {
  const std::string path = WriteConfig("[chat]\nthreads = 2\n");
  EXPECT_EQ(Run({"--config", path}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("\"chat.threads\""));
}

TEST_F(ServeOptionsTest, AKeyThatIsSetTwiceIsRefused) {
  EXPECT_EQ(Run({"--config", WriteConfig("threads = 2\nthreads = 3\n")}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("threads is set twice"));
}

TEST_F(ServeOptionsTest, AKeyThatIsSetOutsideAndInsideOfItsSectionIsRefused) {
  EXPECT_EQ(Run({"--config", WriteConfig("threads = 2\n[serve]\nthreads = 3\n")}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("threads is set twice"));
}

TEST_F(ServeOptionsTest, ABadValueInTheConfigFileNamesTheFileAndTheValue) {
  const std::string path = WriteConfig("ram-bytes = \"plenty\"\n");
  EXPECT_EQ(Run({"--config", path}), 2);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr(path), HasSubstr("ram-bytes"), HasSubstr("\"plenty\"")));
}

TEST_F(ServeOptionsTest, AMissingConfigFileIsNamed) {
  EXPECT_EQ(Run({"--config", folder_ / "nowhere"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("nowhere: No such file"));
}

TEST_F(ServeOptionsTest, AQuotedValueKeepsItsHash) {
  EXPECT_EQ(Run({"--config", WriteConfig("model = \"/models/a #1\"\n")}), 0) << err_.str();
  EXPECT_EQ(options_.engine.model_folder, "/models/a #1");
}

TEST_F(ServeOptionsTest, AQuoteThatDoesNotCloseIsRefusedWithItsLine) {
  const std::string path = WriteConfig("threads = 2\nmodel = \"/models/a # comment\n");
  EXPECT_EQ(Run({"--config", path}), 2);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr(path), HasSubstr("line 2"), HasSubstr("not close")));
  EXPECT_EQ(actions_, 0);
}

TEST_F(ServeOptionsTest, ASwitchInTheConfigFileIsTrueOrFalse) {
  EXPECT_EQ(Run({"--config", WriteConfig("allow-insecure-remote = false\n")}), 0) << err_.str();
  EXPECT_FALSE(options_.allow_insecure_remote);
  EXPECT_EQ(Run({"--config", WriteConfig("allow-insecure-remote = perhaps\n")}), 2);
}

TEST_F(ServeOptionsTest, WrongUsageIsOneLineThatNamesTheFlag) {
  EXPECT_EQ(Run({"--ram-bytes", "12parsecs"}), 2);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("--ram-bytes"), HasSubstr("12parsecs")));
  EXPECT_EQ(err_.str().find('\n'), err_.str().size() - 1);
  err_.str("");
  EXPECT_EQ(Run({"--threads", "many"}), 2);
  EXPECT_THAT(err_.str(), AllOf(HasSubstr("--threads"), HasSubstr("many")));
  err_.str("");
  EXPECT_EQ(Run({"--no-such-flag"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--no-such-flag"));
  EXPECT_EQ(actions_, 0);
}

TEST_F(ServeOptionsTest, HelpShowsDefaultsWithUnitsIn100Columns) {
  EXPECT_EQ(Run({"--help"}), 0);
  EXPECT_THAT(out_.str(), AllOf(HasSubstr("--ram-bytes SIZE"), HasSubstr("1GiB"),
                                HasSubstr("127.0.0.1:50051"), HasSubstr("--config FILE")));
  std::istringstream lines(out_.str());
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
  EXPECT_EQ(actions_, 0);
}

TEST_F(ServeOptionsTest, AddressesThatOtherMachinesReachNeedConsent) {
  options_.listen = "0.0.0.0:50051";
  const absl::Status refused = options_.Validate();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("0.0.0.0:50051"), HasSubstr("--allow-insecure-remote"),
                    HasSubstr("encryption")));
  options_.allow_insecure_remote = true;
  EXPECT_TRUE(options_.Validate().ok()) << options_.Validate();
}

TEST_F(ServeOptionsTest, FlagsThatWouldChangeNothingAreRefused) {
  for (const char* flag :
       {"--block-tokens", "--step-tokens", "--max-running", "--max-waiting", "--threads"}) {
    err_.str("");
    EXPECT_EQ(Run({flag, "16"}), 2);
    EXPECT_THAT(err_.str(), HasSubstr(std::string(flag) + " requires --model"));
  }
  err_.str("");
  EXPECT_EQ(Run({"--device", "cuda"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--device requires --model"));
  err_.str("");
  EXPECT_EQ(Run({"--gpu-bytes", "8GiB"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--gpu-bytes requires --device"));
  err_.str("");
  EXPECT_EQ(Run({"--disk-bytes", "8GiB"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--disk-bytes requires --disk-dir"));
  err_.str("");
  EXPECT_EQ(Run({"--disk-admission", "useful"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--disk-admission requires --disk-dir"));
  EXPECT_EQ(actions_, 0);
}

TEST_F(ServeOptionsTest, AFlagAndWhatItNeedsMayComeFromDifferentPlaces) {
  const std::string path = WriteConfig("disk-dir = d\nmax-running = 3\n");
  EXPECT_EQ(Run({"--config", path, "--disk-bytes", "8GiB", "--model", "m"}), 0) << err_.str();
  EXPECT_EQ(Run({"--config", path, "--disk-bytes", "8GiB"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--max-running requires --model"));
}

TEST_F(ServeOptionsTest, EngineOptionsAreCheckedWithAModel) {
  EXPECT_EQ(Run({"--model", "m", "--block-tokens", "7"}), 0) << err_.str();
  EXPECT_EQ(options_.Validate().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(options_.Validate().message()), HasSubstr("--block-tokens is 7;"));
}

TEST_F(ServeOptionsTest, WhatTheStoreRefusesIsNamedByItsFlag) {
  EXPECT_EQ(Run({"--ram-bytes", "1"}), 0) << err_.str();
  EXPECT_THAT(std::string(options_.Validate().message()), HasSubstr("--ram-bytes is 1; it must"));
  EXPECT_EQ(Run({"--ram-bytes", "1MiB", "--disk-dir", "d", "--disk-bytes", "5"}), 0) << err_.str();
  EXPECT_THAT(std::string(options_.Validate().message()), HasSubstr("--disk-bytes is 5; it must"));
}

TEST_F(ServeOptionsTest, AModelThatDoesNotFitBesideTheBlocksIsToldTheFlag) {
  const absl::Status full = absl::ResourceExhaustedError("cannot reserve 5 bytes of the GPU");
  EXPECT_EQ(OfModelMemory(full, options_), full) << "of RAM";
  EXPECT_EQ(Run({"--model", "m", "--device", "cuda", "--gpu-bytes", "70GiB"}), 0) << err_.str();
  EXPECT_THAT(std::string(OfModelMemory(full, options_).message()),
              AllOf(HasSubstr("cannot reserve 5 bytes"), HasSubstr("--gpu-bytes 75161927680 are")));
  EXPECT_EQ(OfModelMemory(absl::OkStatus(), options_), absl::OkStatus());
}

TEST_F(ServeOptionsTest, ANegativeGraceIsWrongUsage) {
  EXPECT_EQ(Run({"--shutdown-grace", "-1"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--shutdown-grace"));
}

}  // namespace
}  // namespace reprise::api
