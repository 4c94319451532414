// Members that have begun and are not measured yet.
#pragma once

#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "experiment/checkpoint.hpp"
#include "experiment/measure.hpp"

namespace occam::experiment {

// Whether every case that reads this training has measured it. place: of the case it is trained for.
bool is_measured(const Plan& plan, const Records& records, const Place& place);

// Members of all cases that are not measured, of whose training there is a state.
std::size_t members_under_way(const Plan& plan, const Records& records, const States& states);

// Where the networks of a call are, for a checkpoint. Not thread-safe.
class UnderWay {
 public:
  // The networks of the call: `each` for every place. states: what is kept, by this run and the ones before; null: nothing.
  UnderWay(States* states, const Plan& plan, std::span<const Place> places, std::size_t each,
           const Records& records)
      : states_(states), plan_(plan), places_(places), each_(each), records_(records) {}
  // What was kept of members that are measured has no use.
  ~UnderWay();
  UnderWay(const UnderWay&) = delete;
  UnderWay& operator=(const UnderWay&) = delete;

  // One entry a network; null: it starts anew.
  std::vector<const MemberState*> resumed() const;

  void keep(std::size_t network, MemberState&& state);
  // Of a network that has stopped, unless its member is measured in every case.
  void keep_stopped(const MlpEnsemble& models, std::size_t network, const MemberHistory& history);

 private:
  static constexpr std::size_t kMostFloats = std::size_t{1} << 30;  // 4 GiB; members beyond start anew

  std::tuple<int, int, int> key(std::size_t network) const;

  States* states_;
  const Plan& plan_;
  std::span<const Place> places_;
  std::size_t each_;
  const Records& records_;
  std::map<std::size_t, std::size_t> kept_floats_;  // by network
  std::size_t floats_ = 0;
};

}  // namespace occam::experiment
