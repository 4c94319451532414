// Trainings beside their scalar twins.
#pragma once

#include <vector>

#include "contract/ensembles.hpp"
#include "support/small_data.hpp"

namespace occam::test {

class Train : public OnBody {
 protected:
  // Trains all members together in several calls and compares each with its twin after every call; under
  // every plan.
  void expect_twins(const Ensemble& e, const std::vector<std::vector<std::int64_t>>& calls,
                    Nan nan = Nan::rejected) {
    for (const std::size_t limit : shared_limits(std::size_t{40} << 10)) {
      SCOPED_TRACE(limit);
      ASSERT_NO_FATAL_FAILURE(expect_twins_on(limit, e, calls, nan));
    }
  }

  void expect_twins_on(std::size_t shared_limit, const Ensemble& e,
                       const std::vector<std::vector<std::int64_t>>& calls, Nan nan) {
    SCOPED_TRACE(describe(e));
    const auto backend = make(0, shared_limit);
    const int together = GetParam() == Body::cpu ? 1 : e.members();
    ASSERT_EQ(backend->wave_members(e.request()), together);
    const auto wave = open_loaded(*backend, e);
    std::vector<ScalarTwin> twins;
    std::vector<HostTable> rows;
    for (int m = 0; m < e.members(); ++m) {
      twins.push_back(twin_of(e, m));
      rows.push_back(materialize(e.data[static_cast<std::size_t>(m)], Split::train));
    }
    for (const std::vector<std::int64_t>& updates : calls) {
      wave->train(updates);
      for (int m = 0; m < e.members(); ++m) {
        SCOPED_TRACE(m);
        ScalarTwin& twin = twins[static_cast<std::size_t>(m)];
        twin.train(rows[static_cast<std::size_t>(m)], updates[static_cast<std::size_t>(m)]);
        const std::vector<float> now = parameters(e, *wave, m);
        ASSERT_TRUE(same_bits(now, twin.parameters(), nan));
        if (nan == Nan::rejected && updates[static_cast<std::size_t>(m)] > 0) {
          ASSERT_FALSE(same_bits(now, e.start[static_cast<std::size_t>(m)])) << "nothing was learnt";
        }
      }
    }
  }
};

}  // namespace occam::test
