// The bridge to the double-precision oracle: the same member, the same batches and dropout masks, other
// arithmetic.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "occam/data.hpp"
#include "occam/mlp.hpp"
#include "occam/training.hpp"
#include "reference/mlp.hpp"
#include "reference/optimizer.hpp"

namespace occam::test {

reference::Net oracle_net(const MlpSpec& spec);
reference::Parameters oracle_parameters(const MlpSpec& spec, std::span<const float> parameters);
reference::OptimizerSettings oracle_optimizer(const Optimizer& optimizer);

// In the order of ParameterLayout: trainable parameters, then running means and variances.
reference::Vector flat(const MlpSpec& spec, const reference::Parameters& parameters);

// The rows and masks of update `update` of a member.
reference::Batch oracle_batch(const MlpSpec& spec, const Training& training, std::uint32_t order_seed,
                              const HostTable& rows, std::int64_t update);

// Trains in double precision on the batches of a member.
class OracleMember {
 public:
  OracleMember(const MlpSpec& spec, const Training& training, std::uint32_t order_seed,
               std::span<const float> parameters);
  void train(const HostTable& rows, std::int64_t updates);
  reference::Vector parameters() const { return flat(spec_, parameters_); }
  reference::Forward infer(const HostTable& rows) const;

 private:
  MlpSpec spec_;
  Training training_;
  std::uint32_t order_seed_;
  reference::Net net_;
  reference::Parameters parameters_;
  reference::Optimizer optimizer_;
  std::int64_t update_ = 0;
};

}  // namespace occam::test
