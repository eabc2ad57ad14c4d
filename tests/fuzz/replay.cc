// Runs a fuzz target without libFuzzer: on every file of its corpus and on deterministic mutations
// of it, in rounds of one of each file for as long as the time allows, so that each test run
// exercises every decoder. Usage: x_fuzz CORPUS_DIRECTORY
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kMostRounds = 500;
constexpr int kLeastRounds = 5;
constexpr std::chrono::seconds kEnough{5};

void Run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

// One to four of: flip a bit, set a byte to an edge value, cut the end, repeat a piece.
std::string Mutate(std::string input, std::mt19937_64& random) {
  static constexpr unsigned char kEdges[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
  for (uint64_t left = 1 + random() % 4; left > 0 && !input.empty(); --left) {
    const size_t at = random() % input.size();
    switch (random() % 4) {
      case 0:
        input[at] = static_cast<char>(input[at] ^ (1 << (random() % 8)));
        break;
      case 1: {
        const size_t length = std::min<size_t>(input.size() - at, size_t{1} << (random() % 4));
        const char edge = static_cast<char>(kEdges[random() % std::size(kEdges)]);
        std::fill_n(input.begin() + static_cast<std::ptrdiff_t>(at), length, edge);
        break;
      }
      case 2:
        input.resize(at);
        break;
      case 3:
        input.insert(at, input.substr(random() % input.size(), random() % 64));
        break;
    }
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s CORPUS_DIRECTORY\n", argv[0]);
    return 2;
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    std::fprintf(stderr, "%s: no files in %s\n", argv[0], argv[1]);
    return 1;
  }
  Run("");
  struct File {
    std::string content;
    std::mt19937_64 random;
  };
  std::vector<File> corpus;
  for (const std::filesystem::path& path : files) {
    std::ifstream in(path, std::ios::binary);
    std::string content{std::istreambuf_iterator<char>(in), {}};
    Run(content);
    std::mt19937_64 random(content.size());
    corpus.push_back({std::move(content), random});
  }
  const auto begin = std::chrono::steady_clock::now();
  int rounds = 0;
  while (rounds < kMostRounds &&
         (rounds < kLeastRounds || std::chrono::steady_clock::now() - begin < kEnough)) {
    for (File& file : corpus) Run(Mutate(file.content, file.random));
    ++rounds;
  }
  std::printf("%zu corpus files, %d mutations of each\n", corpus.size(), rounds);
  return 0;
}
