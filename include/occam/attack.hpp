// Adversarial perturbations of an ensemble (Shah et al. 2020, §4 and appendices; the originals' ptb_utils):
// projected gradient descent (Madry et al. 2018), and universal perturbations by singular vectors (SVD-UAP,
// Deng et al. 2020) and by stochastic descent (AS-UAP, Shafahi et al. 2018). Perturbations live where the
// model sees its rows: after the rotation. Every setting may differ from member to member. In fp32 all
// bodies give the same bits (docs/arithmetic.md).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "occam/classifier.hpp"
#include "occam/data.hpp"
#include "occam/metrics.hpp"
#include "occam/mlp.hpp"
#include "occam/perturbation.hpp"

namespace occam {

// SVD-UAP: the first right singular vector u of the matrix of PGD perturbations [rows][inputs], neither
// normalised nor centred; x ↦ clamp(x ± epsilon (2y − 1) u), with the sign that leaves the lower accuracy (−
// where they tie). For more than two classes the factor 2y − 1 is 1. u has a non-negative entry of largest
// magnitude. It is computed in double precision through the Gram matrix (LAPACK), which keeps u to about 2⁻⁵³
// σ₁² / (σ₁² − σ₂²) and a singular value σ to about 2⁻⁵³ σ₁² / σ: those below 1e-8 σ₁ are noise. On PGD's
// perturbations, which are nearly of rank 1, that is u to 1e-14 (tests/singular_test.cpp, against a full SVD),
// rounded to fp32 with epsilon. LAPACK is outside the law of arithmetic: bits may change with its version.
struct SvdUap {
  Pgd attack{.epsilon = 1.0, .iterations = 30};
  double epsilon = 1.0;  // length of the universal perturbation
  bool operator==(const SvdUap&) const = default;
};

// Throws a usage error that names the field and its value: epsilon < 0, or 0 for the PGD behind SVD-UAP, a step
// that is not positive, lengths above kMostLength and bounds beyond ±kMostBound (occam/limits.hpp), no
// iterations, epochs, restarts or batch, a start < 0, several restarts to track or of a minimal attack, bounds
// without a range or that exclude the data (when these are at hand), a loss that the number of classes does not
// allow, a target that is no class.
void validate(const Pgd& attack, int classes);
void validate(const SvdUap& attack, int classes);
void validate(const AsUap& attack, int classes);

// What to do to one member. With `in_range_units` the bounds of all attacks are the range of the member's
// training and test rows, as the original has them, and epsilon and step of PGD (SVD-UAP's too) count in
// units of its width R; the epsilon and step of universal perturbations are absolute all the same.
struct AttackSuite {
  std::optional<Pgd> pgd;
  std::optional<SvdUap> svd_uap;
  std::optional<AsUap> as_uap;
  bool in_range_units = false;
  bool keeps_bounds = false;  // in_range_units leaves the attacks' own bounds as they are
  bool empty() const { return !pgd && !svd_uap && !as_uap; }
  bool operator==(const AttackSuite&) const = default;
};

// A universal perturbation and the accuracy it leaves.
struct Universal {
  std::vector<float> perturbation;  // [inputs] as applied to class 1: ±epsilon u, or AS-UAP's
  std::vector<double>
      singular_values;  // [inputs], descending; SVD-UAP only. All 0: no u, the perturbation is 0
  Score score;          // on the perturbed rows
};

struct AttackResult {
  std::optional<Perturbed> pgd;
  Score pgd_score;  // on the rows plus their perturbations; set with `pgd`
  std::optional<Universal> svd_uap, as_uap;
  DataRange range;  // of training and test rows; set with in_range_units
};

// Attacks the split's rows of every member; finished(member, result) is called once a member, from worker threads, for
// several members at once. One suite per member. Throws usage errors (validate; bounds that exclude a row
// of the split). Throws Interrupted where the models' request to stop is heeded: within a member, too.
void attack(const MlpEnsemble& models, std::span<const Data> data, std::span<const AttackSuite> suites,
            const std::function<void(int member, AttackResult&& result)>& finished, Which which = Which::last,
            Split split = Split::test);

// The attacks on any classifier, step by step on the host. For MLP ensembles `attack` runs whole attacks on
// the device, with the same bits. x: [rows][inputs] as the model sees them, y: [rows] labels below
// model.classes(); rows are numbered from 0. Bounds may exclude rows, which are then moved inside. They throw usage
// errors: validate()'s, and when x and y do not fit.

// Perturbations, and the logits they lead to. update: of a training under way, which keys the draws.
Perturbed perturb(Classifier& model, std::span<const float> x, std::span<const std::int32_t> y,
                  const Pgd& attack, std::uint32_t update = 0);

// The universal perturbation as it moves class 1, [inputs].
std::vector<float> fit_universal(Classifier& model, std::span<const float> x, std::span<const std::int32_t> y,
                                 const AsUap& attack);

// The same, found by singular vectors (SvdUap), with the singular values and its score on the rows.
Universal fit_universal(Classifier& model, std::span<const float> x, std::span<const std::int32_t> y,
                        const SvdUap& attack);

// Rows after x ↦ clamp(x + (2y − 1) universal); the factor is 1 for more than two classes. [rows][inputs]
std::vector<float> shifted(std::span<const float> x, std::span<const std::int32_t> y, int classes,
                           std::span<const float> universal, double lower, double upper);

// How much of a perturbation lies on some coordinates (before the rotation): ‖(p Wᵀ)_S‖ / ‖p‖; for rows of
// perturbations [rows][dim] the mean over those that are not zero, NaN when all are. rotation: [dim][dim] or
// empty. Usage errors: sizes that do not fit together, a coordinate that is not there.
double perturbation_share(std::span<const float> perturbations, std::span<const float> rotation, int dim,
                          std::span<const int> coordinates);

}  // namespace occam
