#include "experiment/flags.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iostream>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "experiment/computed.hpp"
#include "experiment/config_file.hpp"
#include "experiment/fields.hpp"
#include "experiment/text.hpp"
#include "occam/error.hpp"
#include "occam_build_info.hpp"

namespace occam::experiment {
namespace {

// A common flag that is part of a configuration: where its value lies, and how --config spells it.
struct Common {
  std::string flag;
  std::string Options::*text = nullptr;
  int Options::*number = nullptr;
  bool Options::*truth = nullptr;
  std::string help;
};

const std::vector<Common>& configured() {
  const auto text = [](const char* flag, std::string Options::*at, const char* help) {
    return Common{flag, at, nullptr, nullptr, help};
  };
  const auto number = [](const char* flag, int Options::*at, const char* help) {
    return Common{flag, nullptr, at, nullptr, help};
  };
  const auto truth = [](const char* flag, bool Options::*at, const char* help) {
    return Common{flag, nullptr, nullptr, at, help};
  };
  static const std::vector<Common> table = {
      text("device", &Options::device, "auto, cpu, cuda or cuda:N (default auto)"),
      number("threads", &Options::threads, "CPU threads (default 0: all this process may use)"),
      text("precision", &Options::precision, "fp32 (default), or on a CUDA device tf32 or bf16"),
      text("seeds", &Options::seeds, "N seeds, A-B or a list"),
      text("data-seeds", &Options::data_seeds,
           "data seeds: A, A-B or a list; members are the product of all seeds"),
      text("init-seeds", &Options::init_seeds, "initialisation seeds"),
      text("order-seeds", &Options::order_seeds, "seeds of the order of rows and of dropout"),
      text("out", &Options::out, "results go to DIR/<experiment> (default results)"),
      text("simple", &Options::simple, "coordinates of S, such as 0 or 0-3,7"),
      text("groups", &Options::groups, "named groups of coordinates, S=0-3,T=4,7; S is the simple one"),
      text("measure", &Options::measure,
           "further measures: per-coordinate,subset:K,swap,predictions,pgd,svd-uap,as-uap"),
      truth("measure-at-checks", &Options::measure_at_checks,
            "at every check: S and S^c AUC, or accuracy on the other sets of images; accuracy under a "
            "measured pgd"),
      truth("boundary-symmetric", &Options::boundary_symmetric,
            "fill the decision boundary from [-B, B], not [0, B]"),
      number("keep", &Options::keep, "members whose scores and data are kept in arrays.npz (default 4)"),
      text("save", &Options::save, "weights, data: kept in arrays.npz"),
      truth("quick", &Options::quick, "fewest seeds, where --seeds names none"),
      truth("full", &Options::full, "as many seeds as the verdicts ask for, where --seeds names none"),
      truth("no-report", &Options::no_report, "leave out report.html, which tools/report makes later, too"),
      truth("quiet", &Options::quiet, "nothing on the console but errors"),
  };
  return table;
}

std::string joined(const std::vector<std::string>& items) { return fmt::format("{}", fmt::join(items, ",")); }

// Flags about networks, and about coordinates of slabs or of users, mean nothing elsewhere.
bool means_something(const Common& c, const Options& options) {
  static const std::set<std::string> networks = {"precision", "save", "keep", "order-seeds",
                                                 "measure-at-checks"},
                                     coordinates = {"simple", "groups", "measure", "boundary-symmetric"};
  if (networks.contains(c.flag)) return !options.computed;
  return !coordinates.contains(c.flag) || (!options.computed && options.kind == DataKind::slab);
}

// Flags that take a list; a configuration file may write it as one.
bool is_list(const Common& c) {
  return c.text && c.flag != "device" && c.flag != "precision" && c.flag != "out";
}

const char* title(Field::Room room) {
  switch (room) {
    case Field::Room::data: return "Data";
    case Field::Room::network: return "Network";
    case Field::Room::training: return "Training";
    case Field::Room::attack: return "Attack";
    case Field::Room::computation: return "Computation";
  }
  return "";
}

// What CLI11 fills before it is read into Options.
struct Raw {
  std::map<std::string, std::vector<std::string>> lists;
  std::map<std::string, std::string> booleans;
};

// A word as a shell takes it back.
std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                          "0123456789_-+=.,:/@%") == std::string::npos;
  if (plain) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

// "--flag" or "--flag=value".
bool is_flag(std::string_view word, std::string_view flag) {
  return word.starts_with(flag) && (word.size() == flag.size() || word[flag.size()] == '=');
}

// The command as recorded: what decides the results, not where they go.
std::string recorded_command(const std::string& name, int argc, const char* const* argv) {
  std::string command = name;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--out")
      ++i;
    else if (!is_flag(word, "--out") && !is_flag(word, "--quiet") && !is_flag(word, "--no-report"))
      command += " " + quoted(std::string(word));
  }
  return command;
}

void add_common(CLI::App& app, Options& options, Raw& raw, bool user_data) {
  for (const Common& c : configured()) {
    if (!means_something(c, options)) continue;
    if (c.number)
      app.add_option("--" + c.flag, options.*c.number, c.help);
    else if (c.truth)
      app.add_flag("--" + c.flag, options.*c.truth, c.help);
    else if (is_list(c))
      app.add_option("--" + c.flag, raw.lists[c.flag], c.help)->expected(1, 1 << 20);
    else
      app.add_option("--" + c.flag, options.*c.text, c.help);
  }
  if (!options.computed && options.kind == DataKind::slab)
    app.add_option("--data", options.data,
                   user_data ? "FILE.npz with x_train, y_train, x_test, y_test (or x, y): data of your own"
                             : "DIR with data files; slab data are generated and need none");
  app.add_flag("--print-config", options.print_config, "print the configuration for --config and leave")
      ->configurable(false);
  if (!options.computed)
    app.add_flag("--explain-plan", options.explain_plan,
                 "say how each case would be trained, with memory and floors, and leave")
        ->configurable(false);
  app.add_flag("--describe-device", options.describe_device, "say which device would be used, and leave")
      ->configurable(false);
}

void add_fields(CLI::App& app, Raw& raw, const std::vector<Field>& table) {
  for (const Field& field : table) {
    CLI::Option* option = nullptr;
    if (field.boolean)
      option = app.add_flag("--" + field.flag + ",!--no-" + field.flag, raw.booleans[field.flag], field.help);
    else
      option = app.add_option("--" + field.flag, raw.lists[field.flag], field.help)->expected(1, 1 << 20);
    option->group(title(field.room));
  }
}

// CLI11's words, which may take several lines.
std::string one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

// A second one would add to the first where lists are taken.
void refuse_repeated(int argc, const char* const* argv) {
  std::set<std::string> seen;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (!word.starts_with("--") || word == "--") continue;
    const std::string flag = without_no(word.substr(2, word.find('=') - 2));
    require(seen.insert(flag).second, "--{} is given twice; give it once (where it takes a list: --{} A,B)",
            flag, flag);
  }
}

// CLI11 gives an option the next word, whatever it is; and takes no word for no value.
void refuse_other_words(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_expected_max() == 0) continue;
    for (const std::string& value : option->results()) {
      require(!value.empty(), "{}: a value is needed", option->get_name());
      require(!value.starts_with("--") || !app.get_option_no_throw(value.substr(0, value.find('='))),
              "{}: a value is needed, and {} is a flag", option->get_name(), value);
    }
  }
}

void check_config_file(const std::string& path) {
  std::ifstream file(path);
  check_config(path, file);
}

void check(const Options& o) {
  require(!(o.quick && o.full), "--quick and --full exclude each other");
  require(o.threads >= 0 && o.threads <= 4096, "--threads: {} is outside 0 … 4096", o.threads);
  require(o.keep >= 1 && o.keep <= 1'000'000, "--keep: {} is outside 1 … 1000000", o.keep);
  require(!o.out.empty(), "--out: the name of a folder is needed");
  require(o.precision == "fp32" || o.precision == "tf32" || o.precision == "bf16",
          "--precision: '{}' is not one of fp32, tf32, bf16", o.precision);
}

}  // namespace

CommandLine read_command_line(const std::string& name, const std::string& claim,
                              const std::vector<OwnOption>& own, bool user_data, int argc,
                              const char* const* argv, const Computation* computation, DataKind kind) {
  CommandLine line;
  line.command = recorded_command(name, argc, argv);
  require_utf8("the command", line.command);
  Options& options = line.options;
  options.computed = computation, options.kind = kind;
  const std::vector<Field> table = computation ? fields_of(*computation) : fields(kind);
  Raw raw;
  CLI::App app(claim, name);
  app.set_version_flag("--version", std::string(build_info::version));
  CLI::Option* const config = app.set_config(
      "--config", "", "read flags from FILE (as --print-config writes it); the command line wins");
  config->configurable(false)->option_text("FILE");
  app.allow_config_extras(false);
  for (const OwnOption& o : own) {
    if (o.truth) {
      app.add_flag("--" + o.flag, *o.truth, o.help)->group("This experiment");
      continue;
    }
    const std::string help =
        o.words.empty() ? o.help : fmt::format("{} ({})", o.help, fmt::join(o.words, "|"));
    app.add_option("--" + o.flag, *o.value, help)->group("This experiment");
  }
  add_common(app, options, raw, user_data);
  add_fields(app, raw, table);
  app.footer(
      "Exit codes: 0 done, 2 usage, 3 data, 4 device, 5 every member diverged, 75 interrupted: the same "
      "command "
      "resumes.");
  refuse_repeated(argc, argv);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    line.only_prints = true;
    return line;
  } catch (const CLI::CallForVersion&) {
    std::cout << name << ' ' << build_info::version << '\n';
    line.only_prints = true;
    return line;
  } catch (const CLI::ConfigError& error) {
    const std::string path = config->as<std::string>(), word = error.what(),
                      key = word.substr(word.find_last_of(' ') + 1);
    check_config_file(path);
    require(!word.ends_with("not allowed in a configuration file"), "--config: {}: {} cannot stand in a file",
            path, word.substr(0, word.find(':')));
    fail(ErrorKind::usage, "--config: {}: no flag is called '{}' (see --help)", path, key);
  } catch (const CLI::FileError&) {
    fail(ErrorKind::usage, "--config: {} cannot be read (the name of a file is needed)",
         config->as<std::string>());
  } catch (const CLI::ParseError& error) {
    fail(ErrorKind::usage, "{} (see --help)", one_line(error.what()));
  }
  refuse_other_words(app);
  if (config->count()) check_config_file(config->as<std::string>());
  for (const Common& c : configured())
    if (raw.lists.contains(c.flag) && app.count("--" + c.flag)) {
      options.*c.text = joined(raw.lists[c.flag]);
      require(!(options.*c.text).empty(), "--{}: a value is needed", c.flag);
    }
  if (computation)
    for (const Number& number : computation->numbers)
      options.fields[number.flag] = split_list(number.flag, number.standard);
  for (const Field& field : table) {
    if (!app.count("--" + field.flag)) continue;
    const std::string text = field.boolean ? raw.booleans[field.flag] : joined(raw.lists[field.flag]);
    options.fields[field.flag] = split_list(field.flag, text);
  }
  for (const OwnOption& o : own)
    if (app.count("--" + o.flag)) options.own.push_back("--" + o.flag + (o.truth ? "" : " " + *o.value));
  for (const OwnOption& o : own)
    if (o.value && !o.words.empty() && app.count("--" + o.flag)) parse_word(o.flag, *o.value, o.words);
  if (!options.save.empty())
    for (const std::string& item : split_list("save", options.save))
      (parse_word("save", item, {"weights", "data"}) == 0 ? options.save_weights : options.save_data) = true;
  check(options);
  return line;
}

namespace {

// Numbers stand bare.
std::string toml(const std::string& value) {
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  const bool bare = error == std::errc() && end == value.data() + value.size();
  return bare || value == "true" || value == "false" ? value : "\"" + value + "\"";
}

std::string toml(const std::vector<std::string>& values) {
  if (values.size() == 1) return toml(values.front());
  std::vector<std::string> quoted;
  for (const std::string& value : values) quoted.push_back(toml(value));
  return fmt::format("[{}]", fmt::join(quoted, ", "));
}

}  // namespace

std::string config_text(const std::string& name, const Options& options, const std::vector<OwnOption>& own,
                        const std::vector<Case>& cases, const std::string& seeds, bool user_data,
                        const std::vector<Field>& table) {
  std::string text = fmt::format("# {}: read with --config FILE\n", name);
  for (const OwnOption& o : own)
    if (o.truth)
      text += *o.truth ? fmt::format("{} = true\n", o.flag) : "";
    else if (!o.value->empty())
      text += fmt::format("{} = {}\n", o.flag, toml(*o.value));
  for (const Common& c : configured()) {
    if (!means_something(c, options)) continue;
    // With these an experiment may have other cases, not other seeds alone.
    if (c.flag == "quick" || c.flag == "full") {
      if (options.*c.truth) text += fmt::format("{} = true\n", c.flag);
    } else if (c.flag == "seeds") {
      const bool by_size = (options.quick || options.full) && options.seeds.empty();
      if (!seeds.empty() && !by_size) text += fmt::format("seeds = {}\n", toml(seeds));
    } else if (c.number) {
      text += fmt::format("{} = {}\n", c.flag, options.*c.number);
    } else if (c.truth) {
      text += fmt::format("{} = {}\n", c.flag, options.*c.truth);
    } else if (!(options.*c.text).empty()) {
      text += fmt::format(
          "{} = {}\n", c.flag,
          toml(is_list(c) ? split_list(c.flag, options.*c.text) : std::vector<std::string>{options.*c.text}));
    }
  }
  if (!options.data.empty()) text += fmt::format("data = {}\n", toml(options.data));

  std::set<std::string> covered;  // by a shorthand that was given
  for (const Field& field : table)
    if (options.given(field.flag)) covered.insert(field.shorthand_for.begin(), field.shorthand_for.end());
  const Field* previous = nullptr;
  for (const Field& field : table) {
    if (user_data && field.recipe) continue;
    // What is there is taken; asked for, it has to be there.
    if (user_data && field.flag == "test" && !options.given("test")) continue;
    if (!previous || previous->room != field.room) text += fmt::format("\n# {}\n", title(field.room));
    previous = &field;
    if (options.given(field.flag)) {
      // CLI11 takes no array for a flag, but a text with commas.
      const std::vector<std::string>& values = options.fields.at(field.flag);
      text += fmt::format("{} = {}\n", field.flag, field.boolean ? toml(joined(values)) : toml(values));
    } else if (!cases.empty() && cases.front().epochs > 0 &&
               (field.flag == "max-updates" || field.flag == "check-every")) {
      text += fmt::format("# {}: follows the epochs\n", field.flag);
    } else if (field.get && !covered.contains(field.flag) && !cases.empty()) {
      const std::string value = field.get(cases.front());
      const bool same =
          std::all_of(cases.begin(), cases.end(), [&](const Case& c) { return field.get(c) == value; });
      if (same) {
        text += fmt::format("{} = {}\n", field.flag, toml(value));
      } else {
        text += fmt::format("# {}: each case has its own\n", field.flag);
      }
    }
  }
  return text;
}

}  // namespace occam::experiment
