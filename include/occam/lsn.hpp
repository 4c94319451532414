// The setting of the theorem of Shah et al. 2020, section 4.1 and appendix F: a ReLU network with one hidden
// layer on data with a linear coordinate, a coordinate of three slabs and noise (LSN). On the CPU, one thread
// a call.
//
// Data: y = ±1 fair, x1 = y, x2 = ((y + 1) / 2) ε with ε = ±1 fair, x3 … xd standard normal. Class y = 1 lies
// at x2 = ±1 and class −1 at x2 = 0: both x1 and |x2| tell the class.
// Network: f(x) = Σ_j v_j ReLU(w_j · x), v_j = 1/√k for the first half of the k neurons and −1/√k for the
// others, fixed; W ~ N(0, 1/(d k log⁴ d)). Loss: hinge, max(0, 1 − y f(x)), mean over a batch.
//
// Normals are those of law::standard_normal: 2^23 values, none beyond 5.42, so that a probability is off by
// 2^−24 at most: thousands of times less than the standard error of 10⁶ samples.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace occam::lsn {

struct Net {
  int dim = 0, neurons = 0;   // d >= 3, k >= 2 and even
  std::vector<float> weight;  // [neurons][dim]

  double output(int neuron) const;  // v_j
  // The parts of w_j that the theorem speaks of: w1, w2 and ‖w̄‖ of the others.
  struct Parts {
    double w1, w2, rest;
  };
  Parts parts(int neuron) const;
};

// Throws a usage error for sizes that are not those above.
Net initial_net(int dim, int neurons, std::uint32_t seed);

// Fresh rows: different draws for every seed, use and update.
enum class Use : std::uint32_t { identities = 0, training = 1, test = 2 };
struct Batch {
  std::uint32_t seed = 0;
  Use use = Use::training;
  std::uint32_t update = 0;
  std::int64_t rows = 0;  // 1 … 2^31
};

// Row-major rows for those who look at single ones: x [rows][dim], y [rows] of ±1. Here and below a batch without rows or
// with too many is a usage error.
struct Rows {
  std::vector<float> x, y;
};
Rows make_rows(const Batch& batch, int dim);

// ---- the identities ---------------------------------------------------------------------------------------
// A step of learning rate η while every hinge is active changes w_j by η v_j times these, in expectation.
struct Step {
  double w1, w2;
};

// With Φ the standard normal distribution function and ± for both signs of x2:
//   E[y x1 1{w·x > 0}] = ¼ [2 + Φ((w1 + w2)/‖w̄‖) + Φ((w1 − w2)/‖w̄‖) − 2 Φ(w1/‖w̄‖)]
//   E[y x2 1{w·x > 0}] = ¼ [Φ((w1 + w2)/‖w̄‖) − Φ((w1 − w2)/‖w̄‖)]
// because y x1 = 1, y x2 is ε for y = 1 and 0 for y = −1, and w̄·x̄ ~ N(0, ‖w̄‖²). ‖w̄‖ > 0.
Step expected_step(const Net::Parts& parts);
// Standard deviations of one sample by the same formulas: y x1 1{w·x > 0} is 0 or 1, and the square of the other is 1
// with probability ¼ [Φ((w1 + w2)/‖w̄‖) + Φ((w1 − w2)/‖w̄‖)].
Step deviation_of_step(const Net::Parts& parts);

// Called between small portions of work; throw from it to stop.
using Pause = std::function<void()>;

// Sample mean of the per-sample gradient of every neuron in units of −v_j, against expected_step.
struct Identities {
  std::vector<Step> mean, error, z;  // [neurons]; error: standard error of the mean, by deviation_of_step
  std::int64_t inactive = 0;         // rows whose hinge is not active; the identities speak of none
  double max_abs_z() const;
};
Identities measure_identities(const Net& net, const Batch& batch, const Pause& pause = {});

// ---- training ---------------------------------------------------------------------------------------------
// What one batch did.
struct Update {
  double loss = 0, accuracy = 0;  // mean hinge and share of y f(x) > 0, before the update
  std::int64_t active = 0;        // rows with an active hinge
};
Update train_on(Net& net, const Batch& batch, double learning_rate, const Pause& pause = {});

// Accuracy on fresh rows; with x1 shuffled among the rows; with all other coordinates shuffled, jointly; and the mean
// hinge of the rows as they are.
struct Reliance {
  double standard, s_randomized, sc_randomized, loss;
};
Reliance measure_reliance(const Net& net, const Batch& batch, const Pause& pause = {});

// Slope of the least-squares line of ln y on ln x. At least two different x, all positive.
double log_log_slope(const std::vector<std::pair<double, double>>& points);

}  // namespace occam::lsn
