#include "api/cli/flag_set.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <set>
#include <type_traits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "api/cli/byte_size.h"
#include "api/cli/config_file.h"
#include "api/cli/text_file.h"
#include "cachestore/base/check.h"

namespace reprise::api {
namespace {

constexpr size_t kColumns = 100;         // width that help is wrapped to
constexpr size_t kNameColumns = 30;      // of these, for names
constexpr int kMaxListValues = 1 << 20;  // below CLI11's "unlimited", see AddList

// Breaks `text` at spaces into lines of the help column's width.
std::string Wrap(const std::string& text) {
  std::vector<std::string> lines(1);
  for (const absl::string_view word : absl::StrSplit(text, ' ')) {
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > kColumns - kNameColumns) {
      lines.emplace_back();
    }
    absl::StrAppend(&lines.back(), lines.back().empty() ? "" : " ", word);
  }
  return absl::StrJoin(lines, "\n");
}

template <typename T>
std::string DefaultText(const T& value) {
  if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
    return absl::StrCat(value);
  } else {
    return absl::StrJoin(value, " ");
  }
}

std::string HelpText(const std::string& help, const std::string& default_text) {
  return Wrap(default_text.empty() ? help : absl::StrCat(help, " (default: ", default_text, ")"));
}

}  // namespace

class FlagSet::Impl {
 public:
  Impl(CLI::App* app, std::string path) : app_(app), path_(std::move(path)) {
    app_->get_formatter()->column_width(kNameColumns);
    app_->require_subcommand(0, 1);
  }

  // The whole program.
  static std::unique_ptr<Impl> Root(const std::string& name, const std::string& description) {
    auto app = std::make_unique<CLI::App>(description, name);
    auto impl = std::make_unique<Impl>(app.get(), name);
    impl->owned_app_ = std::move(app);
    return impl;
  }

  FlagSet& AddCommand(const std::string& name, const std::string& description) {
    CLI::App* app = app_->add_subcommand(name, Wrap(description));
    if (!group_.empty()) app->group(group_);
    commands_.emplace_back(
        new FlagSet(std::make_unique<Impl>(app, absl::StrCat(path_, " ", name))));
    return *commands_.back();
  }

  void BeginGroup(const std::string& heading) { group_ = heading; }

  template <typename T>
  void Add(const std::string& name, T* value, const std::string& value_name,
           const std::string& help) {
    app_->add_option("--" + name, *value, HelpText(help, DefaultText(*value)))
        ->option_text(value_name);
  }

  // Not by CLI11's own vectors: those take a value in brackets apart ("[INST]" becomes "INST").
  template <typename T>
  void AddList(const std::string& name, std::vector<T>* values, const std::string& value_name,
               const std::string& help) {
    const auto store = [name, values](const CLI::results_t& texts) {
      values->clear();
      for (const std::string& text : texts) {
        if (!CLI::detail::lexical_cast(text, values->emplace_back())) {
          throw CLI::ConversionError("Could not convert: --" + name + " = " + text);
        }
      }
      return true;
    };
    app_->add_option("--" + name, store, HelpText(help, DefaultText(*values)))
        ->expected(1, kMaxListValues)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->option_text(value_name);
  }

  void AddBytes(const std::string& name, int64_t* value, const std::string& help) {
    const auto parse = [name, value](const std::string& text) {
      const absl::StatusOr<int64_t> bytes = ParseByteSize(text);
      if (!bytes.ok())
        throw CLI::ValidationError("--" + name, std::string(bytes.status().message()));
      *value = *bytes;
    };
    app_->add_option_function<std::string>("--" + name, parse,
                                           HelpText(help, FormatByteSize(*value)))
        ->option_text("SIZE");
  }

  void AddChoice(const std::string& name, const std::string& usual,
                 std::function<void(const std::string&)> take, const std::string& help) {
    app_->add_option_function<std::string>("--" + name, std::move(take), HelpText(help, usual))
        ->option_text("NAME");
  }

  void AddSwitch(const std::string& name, bool* value, const std::string& help) {
    app_->add_flag("--" + name, *value, Wrap(help));
  }

  CLI::Option* Find(const std::string& name) {
    CLI::Option* option = app_->get_option_no_throw("--" + name);
    CHECK(option != nullptr);
    return option;
  }

  void AddConfigFile() {
    app_->add_option(
            "--config", config_path_,
            Wrap(
                "read flags from this file: lines `name = value`, # starts a comment; flags on the "
                "command line win"))
        ->option_text("FILE");
  }

  void Need(const std::string& name, const std::string& other) {
    needs_.push_back({Find(name), Find(other)});
  }
  void ExcludeValue(const std::string& name, const std::string& other, const std::string& value) {
    excluded_values_.push_back({Find(name), Find(other), value});
  }
  void RequireOneOf(const std::vector<std::string>& names) {
    std::vector<CLI::Option*>& options = one_of_.emplace_back();
    for (const std::string& name : names) options.push_back(Find(name));
  }

  void SetAction(std::function<int()> action) { action_ = std::move(action); }
  CLI::App* app() { return app_; }

  int Run(const std::vector<std::string>& args, std::ostream& out, std::ostream& err) {
    Impl* command = this;
    args_ = args;
    try {
      // CLI11 takes arguments last first.
      app_->parse(std::vector<std::string>(args.rbegin(), args.rend()));
      command = Chosen();
      command->ApplyConfigFile();
      command->CheckTogether();
    } catch (const CLI::CallForHelp&) {
      out << app_->help();
      return 0;
    } catch (const CLI::CallForVersion& version) {
      out << version.what() << "\n";
      return 0;
    } catch (const CLI::ExtrasError&) {
      command = Chosen();
      return command->Complain(command->Unexpected(args, app_->remaining(/*recurse=*/true)), err);
    } catch (const CLI::Error& error) {
      command = Chosen();
      return command->Complain(FirstLine(error.what()), err);
    }
    if (command->action_ == nullptr) return command->Complain("a command is missing", err);
    return command->action_();
  }

  const std::vector<std::string>& args() const { return args_; }

  std::map<std::string, std::string> Given() const {
    std::map<std::string, std::string> given;
    for (const CLI::Option* option : app_->get_options()) {
      if (option->count() > 0) {
        given[option->get_single_name()] = absl::StrJoin(option->results(), " ");
      }
    }
    return given;
  }

 private:
  // `option` is not given with `value` of `other`.
  struct ExcludedValue {
    CLI::Option* option;
    CLI::Option* other;
    std::string value;
  };

  static std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

  // Returns the exit code of wrong usage.
  int Complain(const std::string& cause, std::ostream& err) const {
    err << path_ << ": " << cause << " (see " << path_ << " --help)\n";
    return 2;
  }

  // What is wrong with `args`, which name this command: the first of those that are `left`, in no
  // order, when all others were taken.
  std::string Unexpected(const std::vector<std::string>& args,
                         const std::vector<std::string>& left) const {
    const auto found = std::find_first_of(args.begin(), args.end(), left.begin(), left.end());
    const std::string first = found == args.end() ? absl::StrJoin(left, " ") : *found;
    if (absl::StartsWith(first, "-")) {
      return absl::StrCat("unknown flag ", first.substr(0, first.find('=')));
    }
    return absl::StrCat(commands_.empty() ? "unexpected argument" : "unknown command", " \"", first,
                        "\"");
  }

  // The command that the parsed arguments name.
  Impl* Chosen() {
    for (const std::unique_ptr<FlagSet>& command : commands_) {
      if (command->impl_->app_->parsed()) return command->impl_->Chosen();
    }
    return this;
  }

  // Throws CLI::Error, which Run catches.
  void ApplyConfigFile() {
    if (config_path_.empty()) return;
    const absl::StatusOr<std::string> text = ReadFile(config_path_);
    if (!text.ok()) throw CLI::FileError(std::string(text.status().message()));
    const absl::StatusOr<std::vector<ConfigSetting>> settings = ParseConfig(*text);
    if (!settings.ok()) {
      throw CLI::ConfigError(absl::StrCat(config_path_, ": ", settings.status().message()));
    }
    std::set<CLI::Option*> from_command_line;
    for (CLI::Option* option : app_->get_options()) {
      if (option->count() > 0) from_command_line.insert(option);
    }
    for (const ConfigSetting& setting : *settings) {
      CLI::Option* option = FindConfigurable(setting);
      if (from_command_line.count(option) > 0) continue;
      if (option->count() > 0) {
        throw CLI::ConfigError(absl::StrCat(config_path_, ": ", setting.name, " is set twice"));
      }
      ApplySetting(setting, option);
    }
  }

  CLI::Option* FindConfigurable(const ConfigSetting& setting) {
    const bool in_reach = setting.section.empty() || setting.section == app_->get_name();
    CLI::Option* option = in_reach ? app_->get_option_no_throw("--" + setting.name) : nullptr;
    if (option == nullptr || setting.name == "config" || setting.name == "help") {
      throw CLI::ConfigError(
          absl::StrCat(config_path_, ": unknown key \"", setting.FullName(), "\""));
    }
    return option;
  }

  void ApplySetting(const ConfigSetting& setting, CLI::Option* option) {
    try {
      if (option->get_expected_min() == 0) {  // a switch: its value is true or false
        option->add_result(option->get_flag_value(setting.name, setting.value));
      } else {
        option->add_result(setting.value);
      }
      option->run_callback();
    } catch (const CLI::Error& error) {
      throw CLI::ConfigError(absl::StrCat(config_path_, ": ", error.what()));
    }
  }

  // What must be given together, or must not, on the command line or in the file. Throws
  // CLI::Error.
  void CheckTogether() const {
    for (const auto& [option, other] : needs_) {
      if (option->count() > 0 && other->count() == 0) {
        throw CLI::RequiresError(option->get_name(), other->get_name());
      }
    }
    for (const ExcludedValue& excluded : excluded_values_) {
      if (excluded.option->count() == 0 || excluded.other->count() == 0) continue;
      if (excluded.other->results().back() != excluded.value) continue;
      throw CLI::ExcludesError(excluded.option->get_name(),
                               absl::StrCat(excluded.other->get_name(), " ", excluded.value));
    }
    for (const std::vector<CLI::Option*>& options : one_of_) {
      const auto is_given = [](const CLI::Option* option) { return option->count() > 0; };
      if (std::any_of(options.begin(), options.end(), is_given)) continue;
      throw CLI::RequiredError(
          absl::StrJoin(options, " or ", [](std::string* out, const CLI::Option* option) {
            absl::StrAppend(out, option->get_name());
          }));
    }
  }

  std::unique_ptr<CLI::App> owned_app_;  // the root's alone; CLI11 owns those below
  CLI::App* const app_;
  const std::string path_;  // "reprise cache put"
  std::string group_;       // of the commands that are added; empty: CLI11's own
  std::vector<std::unique_ptr<FlagSet>> commands_;
  std::string config_path_;
  std::vector<std::string> args_;
  std::vector<std::pair<CLI::Option*, CLI::Option*>> needs_;  // the first only with the second
  std::vector<ExcludedValue> excluded_values_;
  std::vector<std::vector<CLI::Option*>> one_of_;  // at least one of each
  std::function<int()> action_;
};

FlagSet::FlagSet(const std::string& name, const std::string& description)
    : impl_(Impl::Root(name, description)) {}
FlagSet::FlagSet(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FlagSet::~FlagSet() = default;

void FlagSet::BeginGroup(const std::string& heading) { impl_->BeginGroup(heading); }

FlagSet& FlagSet::AddCommand(const std::string& name, const std::string& description) {
  return impl_->AddCommand(name, description);
}

void FlagSet::Add(const std::string& name, std::string* value, const std::string& value_name,
                  const std::string& help) {
  impl_->Add(name, value, value_name, help);
}
void FlagSet::Add(const std::string& name, int32_t* value, const std::string& value_name,
                  const std::string& help) {
  impl_->Add(name, value, value_name, help);
}
void FlagSet::Add(const std::string& name, int64_t* value, const std::string& value_name,
                  const std::string& help) {
  impl_->Add(name, value, value_name, help);
}
void FlagSet::Add(const std::string& name, uint64_t* value, const std::string& value_name,
                  const std::string& help) {
  impl_->Add(name, value, value_name, help);
}
void FlagSet::Add(const std::string& name, float* value, const std::string& value_name,
                  const std::string& help) {
  impl_->Add(name, value, value_name, help);
}
void FlagSet::Add(const std::string& name, double* value, const std::string& value_name,
                  const std::string& help) {
  impl_->Add(name, value, value_name, help);
}
void FlagSet::Add(const std::string& name, std::vector<std::string>* values,
                  const std::string& value_name, const std::string& help) {
  impl_->AddList(name, values, value_name, help);
}
void FlagSet::Add(const std::string& name, std::vector<uint32_t>* values,
                  const std::string& value_name, const std::string& help) {
  impl_->AddList(name, values, value_name, help);
}
void FlagSet::Add(const std::string& name, std::vector<int64_t>* values,
                  const std::string& value_name, const std::string& help) {
  impl_->AddList(name, values, value_name, help);
}
void FlagSet::AddBytes(const std::string& name, int64_t* value, const std::string& help) {
  impl_->AddBytes(name, value, help);
}
void FlagSet::AddChoice(const std::string& name, const std::vector<std::string>& values,
                        const std::string& usual,
                        std::function<void(const std::string& value)> take,
                        const std::string& help) {
  impl_->AddChoice(name, usual, std::move(take), help);
  Choose(name, values);
}
void FlagSet::AddSwitch(const std::string& name, bool* value, const std::string& help) {
  impl_->AddSwitch(name, value, help);
}
void FlagSet::Require(const std::string& name) {
  CLI::Option* option = impl_->Find(name);
  const std::string help = absl::StrReplaceAll(option->get_description(), {{"\n", " "}});
  option->required()->description(Wrap(help + " (required)"));
}
void FlagSet::Exclude(const std::string& name, const std::string& other) {
  impl_->Find(name)->excludes(impl_->Find(other));
}
void FlagSet::Need(const std::string& name, const std::string& other) { impl_->Need(name, other); }
void FlagSet::ExcludeValue(const std::string& name, const std::string& other,
                           const std::string& value) {
  impl_->ExcludeValue(name, other, value);
}
void FlagSet::RequireOneOf(const std::vector<std::string>& names) { impl_->RequireOneOf(names); }
void FlagSet::Choose(const std::string& name, const std::vector<std::string>& values) {
  impl_->Find(name)->check([values](const std::string& value) {
    if (std::find(values.begin(), values.end(), value) != values.end()) return std::string();
    return absl::StrCat("\"", value, "\" is not one of ", absl::StrJoin(values, ", "));
  });
}
void FlagSet::AtLeast(const std::string& name, double least) {
  impl_->Find(name)->check([least](const std::string& value) {
    double number = 0;
    // What is no number at all is refused where it is converted.
    if (!absl::SimpleAtod(value, &number) || number >= least) return std::string();
    return absl::StrCat(value, " is too small; at least ", least);
  });
}

void FlagSet::AtMost(const std::string& name, double most) {
  impl_->Find(name)->check([most](const std::string& value) {
    double number = 0;
    if (!absl::SimpleAtod(value, &number) || number <= most) return std::string();
    return absl::StrCat(value, " is too large; at most ", most);
  });
}

void FlagSet::AddVersion(const std::string& text) {
  impl_->app()->set_version_flag("--version", text, "print the version and end");
}
void FlagSet::AddConfigFile() { impl_->AddConfigFile(); }
void FlagSet::SetExamples(const std::string& text) { impl_->app()->footer(text); }
void FlagSet::SetAction(std::function<int()> action) { impl_->SetAction(std::move(action)); }

int FlagSet::Run(const std::vector<std::string>& args, std::ostream& out, std::ostream& err) {
  return impl_->Run(args, out, err);
}

const std::vector<std::string>& FlagSet::args() const { return impl_->args(); }
std::map<std::string, std::string> FlagSet::Given() const { return impl_->Given(); }

}  // namespace reprise::api
