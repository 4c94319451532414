// Claim: what a network learns does not depend on the precision it is trained in: over many seeds of reduced
// slab data, accuracy and AUC on the test set as it is, with S and with S^c randomised, are those of fp32.
#include <cmath>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "contract/ensembles.hpp"
#include "occam/slab.hpp"

namespace occam::test {
namespace {

constexpr int kSeeds = 100, kDim = 8, kTest = 200;
constexpr double kEqualWithin = 0.005;

class PrecisionStatistics : public OnBody {
 protected:
  // [measure][seed]: accuracy and AUC on the test set as it is, S- and S^c-randomised.
  std::vector<std::vector<double>> measured(Precision precision, int batch, int updates, double momentum) {
    Ensemble e{.spec = {.inputs = kDim, .hidden = {24}}};
    if (is_tiled(GetParam())) e.spec.hidden = {24, 16};  // of one hidden layer the products there are in fp32
    SlabSpec slab = lms(5, kDim);
    slab.train = 400, slab.test = kTest;
    slab.coordinates[0].noise = 0.2, slab.coordinates[0].noise_kind = NoiseKind::flip;
    const auto shared = std::make_shared<const SlabSpec>(slab);
    Training training;
    training.batch = batch, training.precision = precision;
    training.optimizer.learning_rate = 0.6 * (1 - momentum), training.optimizer.momentum = momentum;
    for (std::uint32_t seed = 0; seed < kSeeds; ++seed) e.add(SlabData{shared, seed}, training, seed);
    const auto backend = make();
    const auto wave = open_loaded(*backend, e);
    wave->train(std::vector<std::int64_t>(kSeeds, updates));
    std::vector<int> members(kSeeds);
    std::iota(members.begin(), members.end(), 0);
    std::vector<std::vector<double>> result;
    std::vector<int> simple = {0}, other(kDim - 1);
    std::iota(other.begin(), other.end(), 1);
    for (const Randomization& variant : {Randomization{}, Randomization{simple}, Randomization{other}}) {
      std::vector<WaveScore> scores(kSeeds);
      wave->score(members, Split::test, variant, true, scores);
      result.resize(result.size() + 2);
      for (const WaveScore& score : scores) {
        (result.end() - 2)->push_back(static_cast<double>(score.correct) / kTest);
        (result.end() - 1)->push_back(score.auc.at(0));
      }
    }
    return result;
  }
};
OCCAM_ON_BODIES(PrecisionStatistics, Body::simt_plain, Body::simt_plain_tiled, Body::cuda,
                Body::cuda_tiled);  // simt_checked runs the same code, slower

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// The 95% interval of the mean difference, seed by seed, lies within kEqualWithin of 0. Batches of 70 have kernels of their own
// in plan resident.
TEST_P(PrecisionStatistics, AreThoseOfFp32) {
  const char* const names[] = {
      "accuracy",          "AUC", "S-randomised accuracy", "S-randomised AUC", "S^c-randomised accuracy",
      "S^c-randomised AUC"};
  struct Case {
    int batch, updates;
    double momentum;
  };
  for (const auto& [batch, updates, momentum] : {Case{32, 50, 0}, Case{70, 25, 0}, Case{70, 40, 0.9}}) {
    if (batch == 70 && is_tiled(GetParam())) continue;
    SCOPED_TRACE(fmt::format("batch {}, momentum {}", batch, momentum));
    const auto reference = measured(Precision::fp32, batch, updates, momentum);
    // The networks have learnt, and have learnt S alone: else equality would say little.
    EXPECT_GE(mean(reference[0]), 0.75);
    EXPECT_LE(mean(reference[0]), 0.95);
    EXPECT_LE(mean(reference[2]), 0.65);
    for (const Precision precision : {Precision::tf32, Precision::bf16}) {
      const auto values = measured(precision, batch, updates, momentum);
      EXPECT_NE(values, reference) << "nothing was rounded";
      for (std::size_t m = 0; m < std::size(names); ++m) {
        double sum = 0, squares = 0;
        for (std::size_t seed = 0; seed < kSeeds; ++seed) {
          const double difference = values[m][seed] - reference[m][seed];
          sum += difference, squares += difference * difference;
        }
        const double average = sum / kSeeds, variance = (squares - sum * average) / (kSeeds - 1);
        const double half = 1.96 * std::sqrt(variance / kSeeds);
        EXPECT_LE(std::abs(average) + half, kEqualWithin) << name_of(precision) << ' ' << names[m];
      }
    }
  }
}

}  // namespace
}  // namespace occam::test
