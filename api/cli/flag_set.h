// FlagSet: the flags of one command and the commands below it. The only door to CLI11, whose header
// is slow to compile. Flags write into variables of the caller, whose values at the time of adding
// are the defaults that --help shows. Thread-compatible.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace reprise::api {

class FlagSet {
 public:
  // A program, with its name as users type it.
  FlagSet(const std::string& name, const std::string& description);
  ~FlagSet();
  FlagSet(const FlagSet&) = delete;
  FlagSet& operator=(const FlagSet&) = delete;

  // A command below this one, run as `<this> <name>`. Owned by this set.
  FlagSet& AddCommand(const std::string& name, const std::string& description);

  // Commands that are added from now on stand below `heading` in --help.
  void BeginGroup(const std::string& heading);

  // Flag --`name` with a value of the variable's type. `value_name` stands for the value in --help;
  // a vector takes one value or more, and the flag may be repeated. `value` must outlive Run.
  void Add(const std::string& name, std::string* value, const std::string& value_name,
           const std::string& help);
  void Add(const std::string& name, int32_t* value, const std::string& value_name,
           const std::string& help);
  void Add(const std::string& name, int64_t* value, const std::string& value_name,
           const std::string& help);
  void Add(const std::string& name, uint64_t* value, const std::string& value_name,
           const std::string& help);
  void Add(const std::string& name, float* value, const std::string& value_name,
           const std::string& help);
  void Add(const std::string& name, double* value, const std::string& value_name,
           const std::string& help);
  void Add(const std::string& name, std::vector<std::string>* values, const std::string& value_name,
           const std::string& help);
  void Add(const std::string& name, std::vector<uint32_t>* values, const std::string& value_name,
           const std::string& help);
  void Add(const std::string& name, std::vector<int64_t>* values, const std::string& value_name,
           const std::string& help);
  // Flag --`name` with a size in bytes (see byte_size.h).
  void AddBytes(const std::string& name, int64_t* value, const std::string& help);
  // Flag --`name` with one of `values`, which `take` is called with; `usual` is the one that holds
  // without the flag.
  void AddChoice(const std::string& name, const std::vector<std::string>& values,
                 const std::string& usual, std::function<void(const std::string& value)> take,
                 const std::string& help);
  // Flag --`name` without a value, which sets `value`.
  void AddSwitch(const std::string& name, bool* value, const std::string& help);

  // The flag must be given. REQUIRES: the flag was added.
  void Require(const std::string& name);
  // The two flags exclude each other. REQUIRES: both were added.
  void Exclude(const std::string& name, const std::string& other);

  // Flag `name` may be given only together with flag `other`. REQUIRES: both were added.
  void Need(const std::string& name, const std::string& other);
  // The flag is not given together with --`other` `value`. REQUIRES: both were added.
  void ExcludeValue(const std::string& name, const std::string& other, const std::string& value);
  // At least one of the flags must be given. REQUIRES: all were added.
  void RequireOneOf(const std::vector<std::string>& names);
  // The flag takes one of `values` only. REQUIRES: the flag was added.
  void Choose(const std::string& name, const std::vector<std::string>& values);
  // The flag takes numbers from `least` on, or up to `most`, only. REQUIRES: the flag was added.
  void AtLeast(const std::string& name, double least);
  void AtMost(const std::string& name, double most);

  // Flag --version, which prints `text` and does nothing else.
  void AddVersion(const std::string& text);

  // Flag --config FILE: `name = value` lines for every other flag of this command (config_file.h),
  // optionally under a section [`this command's name`]. Flags on the command line win. An unknown
  // key is an error that names it.
  void AddConfigFile();

  // Printed below the flags in --help.
  void SetExamples(const std::string& text);

  // What the command does, after its flags were read; returns the exit code. A set without an
  // action needs one of its commands.
  void SetAction(std::function<int()> action);

  // Parses `args` (without the program's name) and runs the action of the command they name. --help
  // and --version are printed to `out`. What is wrong with `args` goes to `err` in one line; the
  // exit code is 2 then.
  int Run(const std::vector<std::string>& args, std::ostream& out, std::ostream& err);

  // What Run was called with.
  const std::vector<std::string>& args() const;
  // The flags that it was given, on the command line or in the file, each with its value as it was
  // written.
  std::map<std::string, std::string> Given() const;

 private:
  class Impl;
  explicit FlagSet(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace reprise::api
