// Measures networks trained on images of shapes: shape or place?
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "experiment/measure.hpp"

namespace occam::experiment {

// Metrics iid_, uniform_, swapped_ and, where every class has such places, conflict_accuracy, _loss and _auc of the
// evaluated model (occam/shapes.hpp, Arrangement). Arrays of the kept members, with <set> one of these:
//   scores/<set>, classes/<set>, offsets/<set>   [rows], [rows], [rows][2] (x, y)
// and of the first member alone:
//   masks                                        [classes][height][width]
//   train/image, train/class                     [12][height][width], [12]: training images
//   images/<set>, images/<set>_class, _predicted [12][height][width], [12], [12]: test images
//   saliency/<set>                               the same images' input gradients of logit 1 − logit 0, or of the
//                                                one logit [12][height][width]
void measure_shapes(const MlpEnsemble& models, std::span<const Data> data, const Plan& plan,
                    const Options& options, std::span<const Place> places, std::span<MemberRecord> records);

// What --measure-at-checks adds: the sets uniform, swapped and conflict, [set][member], for FitOptions::sets_at_checks.
std::vector<std::vector<Data>> sets_at_checks(std::span<const Data> data);

// Which of them a member's images have, and where in Check::further they are.
struct SetAtChecks {
  std::string name;
  std::size_t number;
};
std::vector<SetAtChecks> names_at_checks(const Data& data);

}  // namespace occam::experiment
