#include "experiment/train.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <thread>

#include "data_clock.hpp"
#include "experiment/shape_measure.hpp"
#include "experiment/stopwatch.hpp"
#include "experiment/under_way.hpp"
#include "experiment/vote_measure.hpp"
#include "interrupt.hpp"

namespace occam::experiment {
namespace {

const PlannedCase& case_of(const Plan& plan, const Place& place) {
  return plan.cases[static_cast<std::size_t>(place.planned_case)];
}

bool share_an_ensemble(const Case& a, const Case& b) {
  return a.network == b.network && a.training.batch == b.training.batch &&
         a.shapes.has_value() == b.shapes.has_value() && a.simple == b.simple && a.measures == b.measures &&
         a.evaluate == b.evaluate && a.votes == b.votes;
}

// What one network of this case will take, before any has finished: the published count, or two checks.
std::int64_t network_guess(const PlannedCase& planned) {
  const StopRule& stop = planned.settings.training.stop;
  if (stop.criterion == StopCriterion::none) return stop.max_updates;
  if (planned.published.is_object() && planned.published.contains("published")) {
    const auto& published = planned.published["published"];
    if (published.contains("updates") && published["updates"].is_number())
      return published["updates"].get<std::int64_t>();
  }
  return std::min(stop.max_updates, 2 * stop.check_every + stop.patience);
}

std::int64_t first_guess(const PlannedCase& planned) {
  return planned.settings.votes.networks() * network_guess(planned);
}

// The estimate of all updates: finished members as they were, the others like the finished ones of their
// case.
class Estimate {
 public:
  explicit Estimate(const Plan& plan, const Records& done)
      : plan_(plan), sum_(plan.cases.size(), 0), count_(plan.cases.size(), 0) {
    for (int c = 0; c < static_cast<int>(plan.cases.size()); ++c)
      for (int m = 0; trains(c) && m < static_cast<int>(plan.members.size()); ++m)
        if (is_measured(plan, done, {c, m})) add(c, done.at({c, m}).history.updates);
  }
  void add(int planned_case, std::int64_t updates) {
    const auto c = static_cast<std::size_t>(planned_case);
    sum_[c] += updates;
    ++count_[c];
  }
  std::int64_t done() const { return std::accumulate(sum_.begin(), sum_.end(), std::int64_t{0}); }
  std::int64_t total() const {
    std::int64_t all = 0;
    for (std::size_t c = 0; c < plan_.cases.size(); ++c) {
      if (!trains(static_cast<int>(c))) continue;
      const std::int64_t each = count_[c] > 0 ? sum_[c] / count_[c] : first_guess(plan_.cases[c]);
      all += sum_[c] + each * (static_cast<std::int64_t>(plan_.members.size()) - count_[c]);
    }
    return all;
  }

 private:
  bool trains(int c) const { return !plan_.cases[static_cast<std::size_t>(c)].readers.empty(); }

  const Plan& plan_;
  std::vector<std::int64_t> sum_, count_;
};

// The networks of a call, `each` for every place: those of places[0], then those of places[1], …
struct Call {
  std::size_t each = 1;
  std::vector<Data> data;
  std::vector<Seeds> seeds;
  std::vector<Initialization> initializations;
  std::vector<Training> trainings;
  std::vector<AttackSuite> attacks;
};

Call call_of(const Plan& plan, std::span<const Place> places) {
  Call call;
  const int networks = case_of(plan, places.front()).settings.votes.networks();
  call.each = static_cast<std::size_t>(networks);
  for (const Place& place : places) {
    const PlannedCase& planned = case_of(plan, place);
    const auto member = static_cast<std::size_t>(place.member);
    const Seeds& seeds = plan.members.seeds[member];
    for (int k = 0; k < networks; ++k) {
      call.data.push_back(planned.data[member]);
      call.seeds.push_back(planned.settings.votes.sizes.empty() ? seeds : voter_seeds(seeds, k));
      call.attacks.push_back(planned.settings.attacks.suite(seeds.order));
      call.initializations.push_back(planned.settings.initialization);
      call.trainings.push_back(planned.settings.training);
    }
  }
  return call;
}

// Which networks of a call have stopped, and with them which members: those whose networks all have.
class Stopped {
 public:
  explicit Stopped(const Call& call)
      : each_(call.each), histories_(call.seeds.size()), left_(call.seeds.size() / call.each, call.each) {}

  // The member that is complete with this network, if one is.
  std::optional<std::size_t> add(int network, const MemberHistory& history) {
    const auto n = static_cast<std::size_t>(network), member = n / each_;
    histories_[n] = history;
    if (--left_[member] > 0) return std::nullopt;
    members_.insert(std::ranges::lower_bound(members_, member), member);
    return member;
  }

  const std::vector<std::size_t>& members() const { return members_; }  // in ascending order
  std::span<const MemberHistory> histories(std::size_t member) const {
    return std::span(histories_).subspan(member * each_, each_);
  }
  bool has_stopped(std::size_t network) const { return !histories_[network].checks.empty(); }
  const MemberHistory& history(std::size_t network) const { return histories_[network]; }
  std::int64_t updates(std::size_t member) const {
    std::int64_t sum = 0;
    for (const MemberHistory& history : histories(member)) sum += history.updates;
    return sum;
  }

 private:
  std::size_t each_;
  std::vector<MemberHistory> histories_;
  std::vector<std::size_t> left_, members_;
};

// The networks of some members, as an ensemble of their own.
MlpEnsemble networks_of(const MlpEnsemble& models, std::span<const std::size_t> members, std::size_t each) {
  std::vector<int> networks;
  for (const std::size_t member : members)
    for (std::size_t k = 0; k < each; ++k) networks.push_back(static_cast<int>(member * each + k));
  return models.subset(networks);
}

// Asks to stop, too, some seconds after somebody else has asked.
class Grace {
 public:
  Grace(const std::atomic<bool>* asked, double seconds) {
    if (asked != nullptr)
      thread_ = std::jthread([=, this](std::stop_token done) { wait(done, *asked, seconds); });
  }
  const std::atomic<bool>* over() const { return &over_; }

 private:
  void wait(std::stop_token done, const std::atomic<bool>& asked, double seconds) {
    constexpr auto kLook = std::chrono::milliseconds(100);
    std::unique_lock lock(mutex_);
    const auto sleep = [&](auto how_long) {
      return ended_.wait_for(lock, done, how_long, [&] { return done.stop_requested(); });
    };
    while (!asked.load())
      if (sleep(kLook)) return;
    over_ = !sleep(std::chrono::duration<double>(seconds));
  }

  std::atomic<bool> over_{false};
  std::mutex mutex_;
  std::condition_variable_any ended_;
  std::jthread thread_;  // the last member: it is joined before the others go
};

// Members of the call, and for each the case that is to measure it.
struct Pending {
  std::vector<std::size_t> members;
  std::vector<Place> places;
};

// Every stopped member for one of its cases, then for the next one, …: a whole call need not be copied.
Pending pending(const Plan& plan, std::span<const Place> places, const Stopped& stopped,
                const Records& records) {
  Pending all;
  bool more = true;
  for (std::size_t r = 0; more; ++r) {
    more = false;
    for (const std::size_t member : stopped.members()) {
      const std::vector<int>& readers = case_of(plan, places[member]).readers;
      if (r >= readers.size()) continue;
      more = true;
      if (records.contains({readers[r], places[member].member})) continue;
      all.members.push_back(member);
      all.places.push_back({readers[r], places[member].member});
    }
  }
  return all;
}

// Measures the members that have stopped, in every case that has not yet, and adds the records; so many at a time.
void record_stopped(const MlpEnsemble& models, const Call& call, const Stopped& stopped, const Plan& plan,
                    const Options& options, std::span<const Place> places, const TrainHooks& hooks,
                    std::size_t at_a_time, Records& records) {
  const bool votes = !case_of(plan, places.front()).settings.votes.sizes.empty();
  if (votes) at_a_time = 1;  // combiners train for a while
  const Pending all = pending(plan, places, stopped, records);
  for (std::size_t first = 0, count = 0; first < all.places.size(); first += count) {
    heed(models.interrupt());
    count = std::min(at_a_time, all.places.size() - first);
    const auto members = std::span(all.members).subspan(first, count);
    const auto where = std::span(all.places).subspan(first, count);
    std::vector<MemberRecord> finished(count);
    std::vector<Data> data;
    for (std::size_t i = 0; i < count; ++i) {
      finished[i].history = stopped.histories(members[i]).front();
      data.push_back(call.data[members[i] * call.each]);
    }
    bool as_they_are = count == static_cast<std::size_t>(models.members());
    for (std::size_t i = 0; i < count; ++i) as_they_are = as_they_are && members[i] == i;
    if (votes)
      measure_vote(networks_of(models, members, call.each), stopped.histories(members[0]), data[0],
                   case_of(plan, where[0]), where[0].member < options.keep, finished[0]);
    else if (as_they_are)
      measure(models, data, plan, options, where, finished);
    else
      measure(networks_of(models, members, 1), data, plan, options, where, finished);
    for (std::size_t i = 0; i < count; ++i)
      records[{where[i].planned_case, where[i].member}] = std::move(finished[i]);
    if (hooks.saved) hooks.saved();
  }
}

}  // namespace

std::vector<std::vector<Place>> groups_of(const Plan& plan, const Records& done) {
  std::vector<std::vector<Place>> groups;
  for (std::size_t c = 0; c < plan.cases.size(); ++c) {
    auto group = std::find_if(groups.begin(), groups.end(), [&](const std::vector<Place>& g) {
      return share_an_ensemble(case_of(plan, g.front()).settings, plan.cases[c].settings);
    });
    for (std::size_t m = 0; m < plan.members.size(); ++m) {
      const Place place{static_cast<int>(c), static_cast<int>(m)};
      if (is_measured(plan, done, place)) continue;
      if (group == groups.end()) group = groups.insert(groups.end(), std::vector<Place>{});
      group->push_back(place);
    }
  }
  // The long ones first: then no thread is left alone with one at the end of a call.
  for (std::vector<Place>& group : groups)
    std::stable_sort(group.begin(), group.end(), [&](const Place& a, const Place& b) {
      return first_guess(case_of(plan, a)) > first_guess(case_of(plan, b));
    });
  return groups;
}

namespace {
constexpr double kTellSeconds = 120;  // from one state of a member under way to the next
}  // namespace

CallSize::CallSize(const MlpSpec& spec, const Device& device) {
  const bool cpu = device.kind == DeviceKind::cpu;
  const std::int64_t bytes = 2 * ParameterLayout(spec).total * static_cast<std::int64_t>(sizeof(float));
  // A GPU wants the blocks of many members at once, however large they are.
  const std::int64_t fitting = std::max<std::int64_t>(1, (std::int64_t{cpu ? 1 : 8} << 30) / bytes);
  // A CPU trains one member a thread: none should wait for a last one.
  const std::int64_t threads = std::max(1, device.threads);
  unit_ = cpu ? threads : 1;
  const auto at_most = [&](std::int64_t wanted) {
    return std::min(wanted, std::max(fitting, threads)) / unit_ * unit_;
  };
  least_ = at_most(cpu ? 4 * threads : 1024),
  most_ = at_most(cpu ? std::max<std::int64_t>(16, 8 * threads) : 16384);
  networks_ = least_;
}

void CallSize::took(std::size_t networks, double seconds) {
  const double fitting = static_cast<double>(networks) * kSeconds / std::max(seconds, 1e-3);
  networks_ =
      static_cast<std::int64_t>(std::clamp(fitting, static_cast<double>(least_), static_cast<double>(most_)));
  networks_ = networks_ / unit_ * unit_;
}

bool train(const Plan& plan, const Options& options, const Device& device, const TrainHooks& hooks,
           Records& records, Seconds& seconds) {
  // Whatever ends this function, the time spent on data is counted.
  struct DataSeconds {
    double& total;
    double before = DataClock::seconds();
    ~DataSeconds() { total += DataClock::seconds() - before; }
  } data_seconds{seconds.data};
  Estimate estimate(plan, records);
  if (hooks.progress) {
    std::int64_t under_way = 0;
    if (hooks.states != nullptr)
      for (const auto& [place, state] : *hooks.states) under_way += state.training.updates;
    hooks.progress->skip(estimate.done() + under_way);
    hooks.progress->expect(estimate.total());
  }
  for (const std::vector<Place>& group : groups_of(plan, records)) {
    const PlannedCase& shared = case_of(plan, group.front());
    const auto networks = static_cast<std::size_t>(shared.settings.votes.networks());
    CallSize call_size(shared.settings.network, device);
    FitOptions fit_options{.interrupt = hooks.interrupt};
    const bool images = shared.settings.shapes.has_value();
    if (options.measure_at_checks && !images)
      fit_options.at_checks = {{.coordinates = shared.settings.simple}, {.coordinates = shared.complement}};
    if (hooks.progress)
      fit_options.progress = [&](std::int64_t updates) { hooks.progress->advance(updates); };

    for (std::size_t first = 0, size = 0; first < group.size(); first += size) {
      const Stopwatch whole;
      size = std::min(std::max<std::size_t>(1, call_size.networks() / networks), group.size() - first);
      const auto places = std::span(group).subspan(first, size);
      const Call call = call_of(plan, places);
      if (options.measure_at_checks && images) fit_options.sets_at_checks = sets_at_checks(call.data);
      if (options.measure_at_checks) fit_options.attacks_at_checks = call.attacks;
      MlpEnsemble models(shared.settings.network, call.seeds, call.initializations, device);
      Stopped stopped(call);
      fit_options.finished = [&](int network, const MemberHistory& history) {
        const std::optional<std::size_t> member = stopped.add(network, history);
        if (!member) return;
        estimate.add(places[*member].planned_case, stopped.updates(*member));
        if (hooks.progress) hooks.progress->expect(estimate.total());
      };
      UnderWay under_way(hooks.states, plan, places, call.each, records);
      const std::vector<const MemberState*> resumed = under_way.resumed();
      fit_options.resumed = resumed;
      fit_options.under_way_every = kTellSeconds;
      fit_options.under_way = [&](int network, MemberState&& state) {
        under_way.keep(static_cast<std::size_t>(network), std::move(state));
        if (hooks.saved && !(hooks.interrupt && hooks.interrupt->load())) hooks.saved();
      };
      const auto keep_stopped = [&] {
        for (std::size_t n = 0; n < call.seeds.size(); ++n)
          if (stopped.has_stopped(n)) under_way.keep_stopped(models, n, stopped.history(n));
      };
      const Stopwatch training;
      bool interrupted = false;
      try {
        fit(models, call.data, call.trainings, fit_options);
      } catch (const Interrupted&) {
        interrupted = true;
      } catch (...) {
        keep_stopped();
        throw;
      }
      seconds.train += training.seconds();
      if (stopped.members().empty()) {
        keep_stopped();
        return false;
      }

      const Stopwatch measuring;
      if (hooks.progress) hooks.progress->say("measuring");
      const Grace grace(hooks.interrupt, hooks.grace);
      models.heed(grace.over());
      try {
        record_stopped(models, call, stopped, plan, options, places, hooks, call_size.networks(), records);
      } catch (const Interrupted&) {
        interrupted = true;
      } catch (...) {
        keep_stopped();
        throw;
      }
      if (interrupted) keep_stopped();
      seconds.measure += measuring.seconds();
      call_size.took(size * networks, whole.seconds());
      if (interrupted) return false;
      if (hooks.interrupt && hooks.interrupt->load() &&
          records.size() < plan.cases.size() * plan.members.size())
        return false;
    }
  }
  return true;
}

}  // namespace occam::experiment
