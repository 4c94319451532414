// What a trained ensemble relies on: accuracy, loss and ROC-AUC on the test set as it is and with some
// coordinates randomised (Shah et al. 2020, §3: S- and S^c-randomised), swapped, per coordinate, on grids and
// in the first layer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "occam/data.hpp"
#include "occam/mlp.hpp"

namespace occam {

// One test-set variant. `coordinates` are those before the rotation; empty means the set as it is.
struct Randomization {
  enum class Kind : std::int32_t { permute = 0, swap = 1 };
  enum class Against : std::int32_t { labels = 0, predictions = 1 };
  std::vector<int> coordinates;
  // permute: one random row permutation, jointly for all coordinates. swap: one donor row of the other class,
  // drawn with replacement, gives all of them.
  Kind kind = Kind::permute;
  Against against = Against::labels;  // or the model's own predictions on the set as it is
};

struct Score {
  double accuracy = 0, loss = 0;
  // One value for two classes (score: logit 1 − logit 0, or the one logit); else one-vs-rest per class with
  // score own logit − largest other. NaN where a class is absent.
  std::vector<double> auc;

  double mean_auc() const;  // over the classes; NaN without any
};

enum class Which { last, best };

// scores[member][variant] on the split (test unless said). Throws a usage error where the split has no rows; here and
// below, for data of another dimension than the networks' inputs, and for a member or coordinate that does not exist;
// and device errors from the backend.
std::vector<std::vector<Score>> score(const MlpEnsemble& models, std::span<const Data> data,
                                      std::span<const Randomization> variants, Which which = Which::last,
                                      Split split = Split::test);

// scores[set][member] on several sets of data [set][member] as they are, each of which has as many rows as the first. A
// device is given the models once.
std::vector<std::vector<Score>> score(const MlpEnsemble& models, std::span<const std::vector<Data>> sets,
                                      Which which = Which::last, Split split = Split::test);

// Logits of one member on one variant.
struct Logits {
  std::int64_t rows = 0;
  int outputs = 0;
  std::vector<float> values;         // [rows][outputs]
  std::vector<std::int32_t> labels;  // [rows]
};
Logits logits(const MlpEnsemble& models, int member, const Data& data, const Randomization& variant,
              Which which = Which::last, Split split = Split::test);

// Logits [rows][outputs] of one member on rows of the caller's own, as the model sees them. x: [rows][inputs]; a usage
// error where that is no whole number of rows.
std::vector<float> logits(const MlpEnsemble& models, int member, std::span<const float> x,
                          Which which = Which::last);

// The score a ROC is taken of: logit 1 − logit 0, or the one logit. [rows] A usage error for more than two outputs.
std::vector<float> scores_of(const Logits& logits);

// Area under the ROC curve, exact, ties averaged. positive[i] != 0 marks the positive class; NaN without both
// classes or with a score that is NaN; a usage error where the two differ in length.
double roc_auc(std::span<const float> score, std::span<const std::int32_t> positive);

// Decision boundary (notebook 1): `points` rows, coordinates a and b uniform over their range on the test
// set, the others uniform on [0, limit] ([−limit, limit] if symmetric), rotated before the model. Usage errors: no
// points, a = b, no test rows.
struct Boundary {
  std::vector<float> a, b;          // [points]
  std::vector<std::int32_t> label;  // [points], predicted class
};
Boundary decision_boundary(const MlpEnsemble& models, int member, const Data& data, int a, int b,
                           std::int64_t points = 100'000, double limit = 1.0, bool symmetric = false,
                           Which which = Which::last);

// First layer of a member against a coordinate (before the rotation): per hidden unit the cosine of its
// weights with the coordinate's direction and their norm; and the correlation of the cosine with the output
// weights (one-hidden-layer nets).
struct Alignment {
  std::vector<float> cosine, norm;         // [units]
  std::vector<double> output_correlation;  // [outputs]; empty unless there is exactly one hidden layer
};
Alignment first_layer_alignment(const MlpEnsemble& models, int member, const Data& data, int coordinate,
                                Which which = Which::last);

}  // namespace occam
