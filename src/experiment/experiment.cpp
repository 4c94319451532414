#include "occam/experiment.hpp"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>
#include <iostream>
#include <sstream>
#include <system_error>

#include <unistd.h>

#include "experiment/checkpoint.hpp"
#include "experiment/computed.hpp"
#include "experiment/config_file.hpp"
#include "experiment/flags.hpp"
#include "experiment/folder.hpp"
#include "experiment/plan.hpp"
#include "experiment/results.hpp"
#include "experiment/stopwatch.hpp"
#include "experiment/tell.hpp"
#include "experiment/text.hpp"
#include "experiment/train.hpp"
#include "experiment/under_way.hpp"
#include "explain.hpp"
#include "occam/error.hpp"
#include "published_json.hpp"
#include "shape_set.hpp"

namespace occam {
namespace {

namespace fs = std::filesystem;
using namespace experiment;

constexpr int kInterrupted = 75;
constexpr double kCheckpointSeconds = 30;

std::atomic<bool> interrupt_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

// The first signal asks for an orderly end, a second one of the same kind ends at once. A terminal that is closed sends SIGHUP
// more than once; nohup wants it ignored. A reader that has gone, and a file as long as the system lets it be, are writes that
// fail.
extern "C" void request_interrupt(int) { interrupt_requested = true; }

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = request_interrupt;
  struct sigaction before {};
  if (sigaction(SIGHUP, nullptr, &before) == 0 && before.sa_handler != SIG_IGN)
    sigaction(SIGHUP, &action, nullptr);
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
  action.sa_handler = SIG_IGN, action.sa_flags = 0;
  for (int signal : {SIGPIPE, SIGXFSZ}) sigaction(signal, &action, nullptr);
}

int default_seeds(const Sizes& sizes, const Options& options, const Device& device) {
  if (device.kind == DeviceKind::cuda)
    return options.quick ? sizes.cuda_quick : options.full ? sizes.cuda_full : sizes.cuda;
  return options.quick ? sizes.cpu_quick : options.full ? sizes.cpu_full : sizes.cpu;
}

// A computation of an experiment's own runs on the CPU, and `auto` says so.
Device computing_device(const Options& options) {
  if (options.device == "cuda" || options.device.starts_with("cuda:"))
    fail(ErrorKind::device, "--device {}: this experiment computes on the CPU alone (use --device cpu)",
         options.device);
  const bool chosen = options.device == "auto";
  Device device = select_device(chosen ? "cpu" : options.device, options.threads);
  if (chosen) device.reason = "auto: this experiment computes on the CPU alone";
  return device;
}

std::string shared_text(const Plan& plan) {
  return fmt::format("{} training{}: cases that differ in their attacks alone share theirs\n",
                     plan.trainings(), plan.trainings() == 1 ? "" : "s");
}

// Whether it did: who asks is on the way out with an error of its own.
bool saves(const std::function<void()>& save) {
  try {
    save();
  } catch (const Error&) {
    return false;
  }
  return true;
}

}  // namespace

std::string published_entry(const std::string& experiment, const std::string& entry) {
  static const nlohmann::json all = nlohmann::json::parse(kPublishedJson);
  require(all.contains(experiment) && all[experiment].contains(entry),
          "published values: there is no entry {} / {}", experiment, entry);
  return all[experiment][entry].dump();
}

struct Experiment::State {
  std::string name, claim;
  Sizes sizes;
  std::vector<OwnOption> own;
  std::vector<Case> cases;
  std::optional<Computation> computation;
  bool accepts_user_data = false;
  DataKind kind = DataKind::slab;
  std::string* chosen_set = nullptr;
  std::vector<std::string> data_sets;

  Options options;
  std::string command;

  int run(int argc, const char* const* argv, const std::function<void()>& add_cases);
  int train_and_record(const Device& device, const Plan& plan);
  void record(const Device& device, const Plan& plan, const Records& records, const Seconds& seconds,
              const fs::path& folder);
};

// For what is said and nothing else: the exit code, when it has arrived.
static int printed() {
  std::cout.flush();
  if (!std::cout) fail(ErrorKind::data, "standard output cannot be written (is the disk full?)");
  return 0;
}

int Experiment::State::run(int argc, const char* const* argv, const std::function<void()>& add_cases) {
  CommandLine line = read_command_line(name, claim, own, accepts_user_data, argc, argv,
                                       computation ? &*computation : nullptr, kind);
  if (line.only_prints) return printed();
  options = std::move(line.options);
  command = std::move(line.command);
  if (chosen_set && !options.data.empty()) {
    parse_word("data", options.data, data_sets);
    *chosen_set = options.data;
    options.data.clear();
  }
  const Device device =
      computation ? computing_device(options) : select_device(options.device, options.threads);
  if (options.describe_device) {
    std::cout << describe(device) << '\n';
    return printed();
  }
  require(options.precision == "fp32" || device.kind == DeviceKind::cuda || options.explain_plan,
          "--precision {}: the CPU trains in fp32 alone (use --precision fp32, or a CUDA device)",
          options.precision);
  const bool user_data = accepts_user_data && !options.data.empty();
  add_cases();
  const int seeds = default_seeds(sizes, options, device);
  const Plan plan = computation ? make_plan(name, cases, *computation, options, seeds)
                                : make_plan(name, cases, options, user_data, seeds);
  if (options.print_config) {
    const std::string text = config_text(name, options, own, cases, seeds_text(options, seeds), user_data,
                                         computation ? fields_of(*computation) : fields(kind));
    std::istringstream again(text);
    check_config("what --print-config would print", again);
    std::cout << text;
    return printed();
  }
  if (options.explain_plan) {
    std::cout << describe(device) << '\n';
    for (const PlannedCase& c : plan.cases)
      std::cout << fmt::format("{}: {}-{}-{}, batch {}\n", c.settings.name, c.settings.network.inputs,
                               architecture_name(c.settings.network.hidden), c.settings.network.outputs(),
                               c.settings.training.batch)
                << explain_plan(device, c.settings.network, c.settings.training,
                                pixel_shares(c.data.front(), c.settings.training));
    return printed();
  }
  return train_and_record(device, plan);
}

int Experiment::State::train_and_record(const Device& device, const Plan& plan) {
  const Stopwatch clock;
  // In fp32 every device gives the same bits.
  const std::uint64_t key =
      options.precision == "fp32" ? plan.hash : fnv1a(fmt::format("{} {}", plan.hash, device.name));
  const fs::path folder = fs::path(options.out) / name, checkpoint_file = folder / "checkpoint";
  make_folder(folder);
  const FolderLock lock(folder);
  const std::size_t members = plan.cases.size() * plan.members.size();
  Records records;
  States states;
  Seconds seconds;
  if (auto checkpoint = read_checkpoint(checkpoint_file)) {
    if (checkpoint->key == key) {
      records = std::move(checkpoint->records);
      states = std::move(checkpoint->states);
      seconds = checkpoint->seconds;
      const std::size_t under_way = members_under_way(plan, records, states);
      tell("{}: resuming: {} of {} members are in {}, {} of them under way\n", name,
           records.size() + under_way, members, checkpoint_file.string(), under_way);
    } else {
      require(checkpoint->key != 0,
              "{}: a checkpoint of another version (finish there, give another --out, or remove it)",
              checkpoint_file.string());
      require(checkpoint->members() == 0,
              "{}: {} members that another command or build trained (finish there, give another --out, or "
              "remove it)",
              checkpoint_file.string(), checkpoint->members());
    }
  }
  if (!options.quiet)
    std::cout << name << ": " << describe(device) << "\n"
              << fmt::format("{} case{} x {} {}\n", plan.cases.size(), plan.cases.size() == 1 ? "" : "s",
                             plan.members.size(),
                             plan.members.product       ? "members"
                             : plan.members.size() == 1 ? "seed"
                                                        : "seeds")
              << (plan.trainings() < members ? shared_text(plan) : "") << std::flush;

  catch_signals();
  const double before = seconds.total;
  double written = 0, writing = 0;  // when the checkpoint was, and how long it took
  const auto save = [&] {
    seconds.total = before + clock.seconds();
    write_checkpoint(checkpoint_file, key, seconds, records, states);
  };
  const auto save_by_the_way = [&] {
    const double begin = clock.seconds();
    if (!interrupt_requested && begin - written < std::max(kCheckpointSeconds, 9 * writing)) return;
    try {
      save();
    } catch (const Error& error) {
      tell("{}: {}; training goes on\n", name, error.what());
    }
    written = clock.seconds();
    writing = written - begin;
  };
  const auto nobody = [&] { return records.empty() && states.empty(); };
  const auto done = [&] {
    return fmt::format("{} of {} members done; the same command {}", records.size(), members,
                       nobody() ? "starts anew" : "resumes from " + checkpoint_file.string());
  };
  try {
    bool complete = false;
    {
      Progress progress(name, !options.quiet);
      TrainHooks hooks{&progress, &states, &interrupt_requested, save_by_the_way};
      complete = computation ? experiment::compute(plan, *computation, device, hooks, records, seconds)
                             : train(plan, options, device, hooks, records, seconds);
    }
    if (!complete) {
      save();
      tell("{}: interrupted with {}\n", name, done());
      return kInterrupted;
    }
    save_by_the_way();
    seconds.total = before + clock.seconds();
    record(device, plan, records, seconds, folder);
  } catch (const Error& error) {
    if (nobody() || !saves(save)) throw;
    fail(error.kind(), "{} ({})", error.what(), done());
  } catch (const std::exception&) {
    if (!nobody()) saves(save);
    throw;
  }
  std::error_code left;
  if (fs::remove(checkpoint_file, left); left)
    tell("{}: {} is no longer needed and cannot be removed: {}\n", name, checkpoint_file.string(),
         left.message());
  if (std::all_of(records.begin(), records.end(), [](const auto& r) { return r.second.diverged(); }))
    fail(ErrorKind::diverged,
         "training diverged for every member: a loss that is no number, or above 1e6 (a smaller --lr, or "
         "data of a smaller scale, may help); the histories are in {}",
         folder.string());
  return 0;
}

void Experiment::State::record(const Device& device, const Plan& plan, const Records& records,
                               const Seconds& seconds, const fs::path& folder) {
  const Run result{name, plan, options, device, records, command};
  const std::vector<Judged> judged = judge_all(result);
  const Stopwatch writing;
  Staging staging(folder);
  staging.write("result.json", result_json(result, judged).dump(1) + "\n");
  staging.write("cases.csv", cases_csv(result));
  staging.write("timing.json", timing_json(result, seconds));
  write_arrays(result, staging.path() / "arrays.npz");
  const bool report = !options.no_report && make_report(name, staging.path());
  staging.publish();
  if (!options.quiet) {
    std::cout
        << console_table(result, judged)
        << fmt::format(
               "\n{:.1f} s (training {:.1f} s, measuring {:.1f} s, writing {:.1f} s); results in {}{}\n",
               seconds.total + writing.seconds(), seconds.train, seconds.measure, writing.seconds(),
               folder.string(), report ? ", report.html among them" : "")
        << std::flush;
    if (!std::cout) tell("{}: standard output cannot be written; results are in {}\n", name, folder.string());
  }
}

Experiment::Experiment(std::string name, std::string claim) : state_(std::make_unique<State>()) {
  state_->name = std::move(name);
  state_->claim = std::move(claim);
}

Experiment::~Experiment() = default;

void Experiment::option(const std::string& flag, std::string& value, const std::string& help,
                        const std::vector<std::string>& words) {
  state_->own.push_back({flag, &value, help, words});
}

void Experiment::option(const std::string& flag, bool& value, const std::string& help) {
  state_->own.push_back({.flag = flag, .value = nullptr, .help = help, .words = {}, .truth = &value});
}

void Experiment::data_sets(std::string& chosen, const std::vector<std::string>& names) {
  state_->chosen_set = &chosen;
  state_->data_sets = names;
}

bool Experiment::quick() const { return state_->options.quick; }
bool Experiment::full() const { return state_->options.full; }

std::int64_t Experiment::integer(const std::string& flag, const std::string& text, std::int64_t least,
                                 std::int64_t most) {
  return parse_integer(flag, text, least, most);
}

double Experiment::real(const std::string& flag, const std::string& text) { return parse_real(flag, text); }

std::vector<std::string> Experiment::list(const std::string& flag, const std::string& text) {
  return split_list(flag, text);
}

void Experiment::accept_user_data() { state_->accepts_user_data = true; }

void Experiment::shapes() { state_->kind = DataKind::shapes; }

void Experiment::compute(const Computation& computation) { state_->computation = computation; }

void Experiment::sizes(const Sizes& sizes) { state_->sizes = sizes; }

void Experiment::add(const Case& added) {
  state_->cases.push_back(added);
  follow_epochs(state_->cases.back());
}

int Experiment::run(int argc, const char* const* argv, const std::function<void()>& cases) {
  try {
    return state_->run(argc, argv, cases);
  } catch (const Error& error) {
    tell("{}: {}\n", state_->name, error.what());
    return error.exit_code();
  } catch (const std::bad_alloc&) {
    tell("{}: out of memory (fewer rows, or fewer --threads, which hold fewer data sets at a time)\n",
         state_->name);
    return static_cast<int>(ErrorKind::device);
  } catch (const std::exception& error) {
    if (const auto* file = dynamic_cast<const fs::filesystem_error*>(&error)) {
      tell("{}: {}: {}\n", state_->name, file->path1().string(), file->code().message());
      return static_cast<int>(ErrorKind::data);
    }
    const auto* system = dynamic_cast<const std::system_error*>(&error);
    if (system && system->code() == std::errc::resource_unavailable_try_again) {
      tell("{}: a thread cannot be started: {} (fewer --threads)\n", state_->name, system->code().message());
      return static_cast<int>(ErrorKind::device);
    }
    tell("{}: {}\n", state_->name, error.what());
    return 1;
  }
}

}  // namespace occam
