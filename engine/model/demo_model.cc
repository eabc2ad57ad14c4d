#include "engine/model/demo_model.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "cachestore/base/status_macros.h"
#include "engine/backend/cpu_elementwise.h"
#include "engine/model/demo_tokenizer.h"
#include "engine/model/demo_weights.h"
#include "nlohmann/json.hpp"

namespace reprise::engine {
namespace {

constexpr int64_t kPieceElements = 1 << 20;

// A file that is written at its offsets by several threads and gets its name when it is complete.
class NewFile {
 public:
  static absl::StatusOr<NewFile> Create(const std::string& path) {
    NewFile file(path);
    file.fd_ = open(file.TempPath().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file.fd_ < 0) return absl::ErrnoToStatus(errno, file.TempPath());
    return file;
  }
  NewFile(NewFile&& other) : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}
  ~NewFile() {
    if (fd_ < 0) return;
    close(fd_);
    unlink(TempPath().c_str());
  }

  absl::Status WriteAt(int64_t offset, const void* data, int64_t size) const {
    const char* next = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t written = pwrite(fd_, next, size, offset);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return absl::ErrnoToStatus(errno, path_);
      next += written;
      offset += written;
      size -= written;
    }
    return absl::OkStatus();
  }

  absl::Status Finish() {
    const int fd = std::exchange(fd_, -1);
    if (close(fd) != 0 || rename(TempPath().c_str(), path_.c_str()) != 0) {
      const absl::Status status = absl::ErrnoToStatus(errno, path_);
      unlink(TempPath().c_str());
      return status;
    }
    return absl::OkStatus();
  }

 private:
  explicit NewFile(std::string path) : path_(std::move(path)) {}
  std::string TempPath() const { return path_ + ".new"; }

  std::string path_;
  int fd_ = -1;
};

absl::Status WriteJson(const std::string& path, const nlohmann::json& value) {
  const std::string text = value.dump(2) + "\n";
  ASSIGN_OR_RETURN(NewFile file, NewFile::Create(path));
  RETURN_IF_ERROR(file.WriteAt(0, text.data(), static_cast<int64_t>(text.size())));
  return file.Finish();
}

// A run of one tensor's elements and its place in the file.
struct Piece {
  const DemoTensor* tensor;
  int64_t first;
  int64_t count;
  int64_t offset;
};

// The header, and pieces whose offsets count from the start of the data.
std::string PlanFile(const std::vector<DemoTensor>& tensors, ElementType dtype,
                     std::vector<Piece>* pieces) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  const int64_t element_bytes = ElementBytes(dtype);
  int64_t offset = 0;
  for (const DemoTensor& tensor : tensors) {
    const int64_t count = tensor.num_elements();
    header[tensor.name] = {{"dtype", dtype == ElementType::kF32 ? "F32" : "BF16"},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + count * element_bytes}}};
    for (int64_t first = 0; first < count; first += kPieceElements) {
      pieces->push_back({&tensor, first, std::min(kPieceElements, count - first),
                         offset + first * element_bytes});
    }
    offset += count * element_bytes;
  }
  std::string text = header.dump();
  text.append(-text.size() % 8, ' ');
  return text;
}

absl::Status WritePiece(const Piece& piece, const DemoModelOptions& options, int64_t data_offset,
                        const NewFile& file) {
  std::vector<float> values(piece.count);
  FillDemoTensor(*piece.tensor, options.seed, piece.first, absl::MakeSpan(values));
  const int64_t offset = data_offset + piece.offset;
  if (options.dtype == ElementType::kF32) {
    return file.WriteAt(offset, values.data(), piece.count * sizeof(float));
  }
  std::vector<uint16_t> narrow(piece.count);
  NarrowToBF16(values.data(), piece.count, narrow.data());
  return file.WriteAt(offset, narrow.data(), piece.count * sizeof(uint16_t));
}

absl::Status WriteWeights(const DemoModelOptions& options, const std::string& path) {
  const std::vector<DemoTensor> tensors = DemoTensors(options);
  std::vector<Piece> pieces;
  const std::string header = PlanFile(tensors, options.dtype, &pieces);
  const uint64_t header_bytes = header.size();
  const int64_t data_offset = static_cast<int64_t>(sizeof(header_bytes) + header_bytes);
  ASSIGN_OR_RETURN(NewFile file, NewFile::Create(path));
  RETURN_IF_ERROR(file.WriteAt(0, &header_bytes, sizeof(header_bytes)));
  RETURN_IF_ERROR(file.WriteAt(sizeof(header_bytes), header.data(), header_bytes));

  absl::Mutex mu;
  absl::Status first_error;  // guarded by mu
  // The next piece nobody has taken; relaxed, because join() publishes everything else.
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < pieces.size();) {
      const absl::Status status = WritePiece(pieces[i], options, data_offset, file);
      if (status.ok()) continue;
      absl::MutexLock lock(&mu);
      first_error.Update(status);
      return;
    }
  };
  std::vector<std::thread> threads;
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  for (size_t i = 1; i < std::min(cores, pieces.size()); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  RETURN_IF_ERROR(first_error);
  return file.Finish();
}

nlohmann::json Gpt2Config(const DemoModelOptions& o) {
  return {{"architectures", {"GPT2LMHeadModel"}},
          {"model_type", "gpt2"},
          {"n_embd", o.hidden_size},
          {"n_layer", o.num_layers},
          {"n_head", o.num_heads},
          {"n_inner", o.intermediate_size},
          {"n_positions", o.max_positions},
          {"n_ctx", o.max_positions},
          {"activation_function", "gelu_new"},
          {"layer_norm_epsilon", 1e-5}};
}

nlohmann::json LlamaConfig(const DemoModelOptions& o) {
  const bool qwen2 = o.family == "qwen2";
  nlohmann::json config = {{"architectures", {qwen2 ? "Qwen2ForCausalLM" : "LlamaForCausalLM"}},
                           {"model_type", o.family},
                           {"hidden_size", o.hidden_size},
                           {"num_hidden_layers", o.num_layers},
                           {"num_attention_heads", o.num_heads},
                           {"num_key_value_heads", o.num_kv_heads},
                           {"intermediate_size", o.intermediate_size},
                           {"max_position_embeddings", o.max_positions},
                           {"hidden_act", "silu"},
                           {"rms_norm_eps", 1e-6},
                           {"rope_theta", 10000.0}};
  if (qwen2) config["use_sliding_window"] = false;
  return config;
}

nlohmann::json Config(const DemoModelOptions& options) {
  nlohmann::json config = options.family == "gpt2" ? Gpt2Config(options) : LlamaConfig(options);
  config["vocab_size"] = options.vocab_size;
  config["tie_word_embeddings"] = false;
  config["torch_dtype"] = options.dtype == ElementType::kF32 ? "float32" : "bfloat16";
  config["bos_token_id"] = nullptr;
  config["eos_token_id"] = kDemoImEnd;
  return config;
}

absl::Status Require(bool good, const char* field, int64_t value, const std::string& must) {
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("demo model: ", field, " is ", value, "; it must be ", must));
}

}  // namespace

absl::Status DemoModelOptions::Validate() const {
  if (family != "llama" && family != "gpt2" && family != "qwen2") {
    return absl::InvalidArgumentError(
        absl::StrCat("demo model: family is \"", family, "\"; it must be llama, gpt2 or qwen2"));
  }
  if (dtype == ElementType::kF16) {
    return absl::InvalidArgumentError("demo model: dtype is f16; it must be f32 or bf16");
  }
  const struct {
    const char* field;
    int64_t value, least, most;
  } ranges[] = {{"vocab_size", vocab_size, kDemoVocabulary, 1 << 20},
                {"hidden_size", hidden_size, 8, 1 << 16},
                {"num_layers", num_layers, 1, 1024},
                {"num_heads", num_heads, 1, 1024},
                {"num_kv_heads", num_kv_heads, 1, 1024},
                {"intermediate_size", intermediate_size, 1, 1 << 18},
                {"max_positions", max_positions, 1, 1 << 20}};
  for (const auto& range : ranges) {
    RETURN_IF_ERROR(Require(range.value >= range.least && range.value <= range.most, range.field,
                            range.value, absl::StrCat("from ", range.least, " to ", range.most)));
  }
  const bool rotary = family != "gpt2";
  RETURN_IF_ERROR(
      Require(hidden_size % (num_heads * (rotary ? 2 : 1)) == 0, "hidden_size", hidden_size,
              absl::StrCat("a multiple of ", rotary ? "twice " : "", "num_heads ", num_heads)));
  if (!rotary) {
    return Require(num_kv_heads == num_heads, "num_kv_heads", num_kv_heads,
                   absl::StrCat("num_heads ", num_heads, " for gpt2"));
  }
  return Require(num_heads % num_kv_heads == 0, "num_kv_heads", num_kv_heads,
                 absl::StrCat("a divisor of num_heads ", num_heads));
}

namespace {

// The folder, made if need be; it has no model yet.
absl::Status MakeFolder(const DemoModelOptions& options, const std::string& folder) {
  RETURN_IF_ERROR(options.Validate());
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return absl::ErrnoToStatus(error.value(), folder);
  if (std::filesystem::exists(folder + "/config.json", error)) {
    return absl::AlreadyExistsError(absl::StrCat(folder, ": has a model already (config.json)"));
  }
  return absl::OkStatus();
}

// Everything but the weights.
absl::Status WriteSmallFiles(const DemoModelOptions& options, const std::string& folder) {
  RETURN_IF_ERROR(WriteJson(folder + "/tokenizer.json", DemoTokenizer()));
  RETURN_IF_ERROR(
      WriteJson(folder + "/tokenizer_config.json", DemoTokenizerConfig(options.max_positions)));
  RETURN_IF_ERROR(
      WriteJson(folder + "/generation_config.json", {{"eos_token_id", {kDemoEndOfText, kDemoImEnd}},
                                                     {"pad_token_id", kDemoEndOfText},
                                                     {"do_sample", false}}));
  return WriteJson(folder + "/config.json", Config(options));
}

}  // namespace

absl::Status WriteDemoModel(const DemoModelOptions& options, const std::string& folder) {
  RETURN_IF_ERROR(MakeFolder(options, folder));
  RETURN_IF_ERROR(WriteWeights(options, folder + "/model.safetensors"));
  return WriteSmallFiles(options, folder);
}

absl::Status WriteDemoDescription(const DemoModelOptions& options, const std::string& folder) {
  RETURN_IF_ERROR(MakeFolder(options, folder));
  return WriteSmallFiles(options, folder);
}

}  // namespace reprise::engine
