#include "experiment/computed.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "experiment/checksum.hpp"
#include "experiment/stopwatch.hpp"
#include "experiment/text.hpp"
#include "interrupt.hpp"
#include "occam/error.hpp"
#include "occam_build_info.hpp"
#include "threads.hpp"

namespace occam::experiment {
namespace {

std::string key_of(std::string flag) {
  std::replace(flag.begin(), flag.end(), '-', '_');
  return flag;
}

Options standard_options(const Computation& computation) {
  Options options;
  for (const Number& number : computation.numbers)
    options.fields[number.flag] = split_list(number.flag, number.standard);
  return options;
}

bool has_summary(const Plan& plan, const Computation& computation) {
  return computation.summary && plan.cases.back().settings.name == computation.summary_name;
}

MemberRecord record_of(ComputedMember member) {
  MemberRecord record;
  record.history = std::move(member.history);
  record.metrics = std::move(member.metrics);
  for (const ComputedArray& array : member.arrays)
    record.arrays.push_back(member_array<float>(array.name, array.values, array.shape));
  return record;
}

// How many updates all members will have made, as far as those that have finished tell.
class MeanEstimate {
 public:
  MeanEstimate(std::size_t members, const Records& done) : members_(members) {
    for (const auto& [place, record] : done) add(record.history.updates);
  }
  void add(std::int64_t updates) { ++finished_, sum_ += updates; }
  std::int64_t done() const { return sum_; }
  std::int64_t total() const {
    return finished_ ? sum_ / finished_ * static_cast<std::int64_t>(members_) : 0;
  }

 private:
  std::size_t members_;
  std::int64_t finished_ = 0, sum_ = 0;
};

void summarize(const Plan& plan, const Computation& computation, Records& records) {
  const int last = static_cast<int>(plan.cases.size()) - 1;
  std::vector<Case> cases;
  for (int c = 0; c < last; ++c) cases.push_back(plan.cases[static_cast<std::size_t>(c)].settings);
  for (int m = 0; m < static_cast<int>(plan.members.size()); ++m) {
    std::vector<Metrics> metrics;
    MemberRecord record;
    record.history.status = FitStatus::converged;
    for (int c = 0; c < last; ++c) {
      const MemberRecord& part = records.at({c, m});
      metrics.push_back(part.metrics);
      if (part.diverged()) record.history.status = FitStatus::diverged;
    }
    if (!record.diverged()) record.metrics = computation.summary(cases, metrics);
    records[{last, m}] = std::move(record);
  }
}

}  // namespace

std::vector<Field> fields_of(const Computation& computation) {
  std::vector<Field> table;
  for (const Number& number : computation.numbers) {
    Field field{number.flag, Field::Room::computation,
                fmt::format("{} (default {})", number.help, number.standard)};
    field.set = [number](Case& c, const std::string& text) {
      const double value =
          number.whole
              ? static_cast<double>(parse_integer(number.flag, text, static_cast<std::int64_t>(number.least),
                                                  static_cast<std::int64_t>(number.most)))
              : parse_real(number.flag, text);
      require(value >= number.least && value <= number.most, "--{}: '{}' is outside [{}, {}]", number.flag,
              text, number.least, number.most);
      require(!number.even || std::fmod(value, 2) == 0, "--{}: {} is not an even number", number.flag, value);
      c.numbers[number.flag] = value;
    };
    field.json = [number](const Case& c) -> nlohmann::json {
      const double value = c.numbers.at(number.flag);
      return number.whole ? nlohmann::json(static_cast<std::int64_t>(value)) : nlohmann::json(value);
    };
    field.get = [json = field.json](const Case& c) { return json(c).dump(); };
    table.push_back(std::move(field));
  }
  return table;
}

Plan make_plan(const std::string& experiment, const std::vector<Case>& own, const Computation& computation,
               const Options& options, int default_seeds) {
  Plan plan;
  plan.members = plan_members(options, default_seeds);
  const std::vector<Field> table = fields_of(computation);
  const std::vector<Expanded> standard = expand(own, standard_options(computation), table);
  std::string identity = fmt::format("{} {} {}", experiment, build_info::version, program());
  for (const Seeds& seeds : plan.members.seeds)
    identity += fmt::format(" {},{},{}", seeds.data, seeds.init, seeds.order);
  for (const Expanded& expanded : expand(own, options, table)) {
    PlannedCase planned;
    planned.settings = expanded.settings;
    planned.as_published = std::any_of(standard.begin(), standard.end(), [&](const Expanded& other) {
      return other.origin == expanded.origin && other.settings.numbers == expanded.settings.numbers;
    });
    for (const Field& field : table) planned.config[key_of(field.flag)] = field.json(planned.settings);
    identity += "\n" + planned.settings.name + planned.config.dump();
    plan.cases.push_back(std::move(planned));
  }
  if (computation.summary && plan.cases.size() > 1) {
    PlannedCase planned;
    planned.settings.name = computation.summary_name;
    planned.settings.numbers["cases"] = static_cast<double>(plan.cases.size());
    planned.config["cases"] = plan.cases.size();
    plan.cases.push_back(std::move(planned));
  }
  for (std::size_t c = 0; c < plan.cases.size(); ++c) plan.cases[c].readers = {static_cast<int>(c)};
  plan.hash = fnv1a(identity);
  return plan;
}

bool compute(const Plan& plan, const Computation& computation, const Device& device, const TrainHooks& hooks,
             Records& records, Seconds& seconds) {
  const Stopwatch watch;
  const std::size_t computed_cases = plan.cases.size() - (has_summary(plan, computation) ? 1 : 0);
  // The last cases first: lists mostly ascend, and then no thread is left alone with a long one.
  std::vector<std::pair<int, int>> places;
  for (std::size_t c = computed_cases; c-- > 0;)
    for (std::size_t m = 0; m < plan.members.size(); ++m)
      if (const std::pair place{static_cast<int>(c), static_cast<int>(m)}; !records.contains(place))
        places.push_back(place);

  MeanEstimate estimate(computed_cases * plan.members.size(), records);
  if (hooks.progress) hooks.progress->skip(estimate.done());
  const Work workshop{[&] { heed(hooks.interrupt); },
                      [&](std::int64_t updates) {
                        if (hooks.progress) hooks.progress->advance(updates);
                      }};
  std::mutex mutex;  // of records, estimate and interrupted
  bool interrupted = false;
  side_by_side(device.threads, places.size(), [&](std::size_t i) {
    const auto [c, m] = places[i];
    try {
      workshop.pause();
      MemberRecord record =
          record_of(computation.member(plan.cases[static_cast<std::size_t>(c)].settings,
                                       plan.members.seeds[static_cast<std::size_t>(m)], workshop));
      const std::lock_guard lock(mutex);
      estimate.add(record.history.updates);
      records[places[i]] = std::move(record);
      if (hooks.progress) hooks.progress->expect(estimate.total());
      if (hooks.saved) hooks.saved();
    } catch (const Interrupted&) {  // as those that follow will be
      const std::lock_guard lock(mutex);
      interrupted = true;
    }
  });
  seconds.train += watch.seconds();
  if (interrupted) return false;
  if (has_summary(plan, computation)) summarize(plan, computation, records);
  return true;
}

}  // namespace occam::experiment
