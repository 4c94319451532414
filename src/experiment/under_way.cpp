#include "experiment/under_way.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace occam::experiment {

namespace {

std::size_t floats_of(const MemberState& state) {
  std::size_t floats = state.last.size() + state.best.size();
  for (const std::vector<float>& values : state.training.optimizer) floats += values.size();
  return floats;
}

}  // namespace

bool is_measured(const Plan& plan, const Records& records, const Place& place) {
  const std::vector<int>& readers = plan.cases[static_cast<std::size_t>(place.planned_case)].readers;
  return std::ranges::all_of(readers, [&](int reader) { return records.contains({reader, place.member}); });
}

std::size_t members_under_way(const Plan& plan, const Records& records, const States& states) {
  std::set<std::pair<int, int>> members;
  for (const auto& [key, state] : states) {
    const auto [planned_case, member, network] = key;
    for (const int reader : plan.cases[static_cast<std::size_t>(planned_case)].readers)
      if (!records.contains({reader, member})) members.insert({reader, member});
  }
  return members.size();
}

UnderWay::~UnderWay() {
  if (states_ == nullptr) return;
  std::erase_if(*states_, [&](const auto& kept) {
    return is_measured(plan_, records_, {std::get<0>(kept.first), std::get<1>(kept.first)});
  });
}

std::tuple<int, int, int> UnderWay::key(std::size_t network) const {
  const Place place = places_[network / each_];
  return {place.planned_case, place.member, static_cast<int>(network % each_)};
}

std::vector<const MemberState*> UnderWay::resumed() const {
  std::vector<const MemberState*> states(places_.size() * each_, nullptr);
  for (std::size_t n = 0; states_ != nullptr && n < states.size(); ++n)
    if (const auto at = states_->find(key(n)); at != states_->end()) states[n] = &at->second;
  return states;
}

void UnderWay::keep(std::size_t network, MemberState&& state) {
  if (states_ == nullptr) return;
  const std::size_t floats = floats_of(state);
  floats_ += floats - std::exchange(kept_floats_[network], floats);
  if (floats_ <= kMostFloats) {
    (*states_)[key(network)] = std::move(state);
  } else {
    states_->erase(key(network));
    floats_ -= std::exchange(kept_floats_[network], 0);
  }
}

void UnderWay::keep_stopped(const MlpEnsemble& models, std::size_t network, const MemberHistory& history) {
  if (states_ == nullptr || is_measured(plan_, records_, places_[network / each_])) return;
  const int n = static_cast<int>(network);
  const std::span<const float> last = models.last(n), best = models.best(n);
  MemberState state{{history.updates, {}}, {last.begin(), last.end()}, {}, history};
  if (history.best_check >= 0) state.best.assign(best.begin(), best.end());
  keep(network, std::move(state));
}

}  // namespace occam::experiment
