#include "support/attack_twin.hpp"

#include <algorithm>

namespace occam::test {

namespace {

class TwinClassifier final : public Classifier {
 public:
  explicit TwinClassifier(const ScalarTwin& twin) : twin_(twin) {}
  int inputs() const override { return twin_.spec().inputs; }
  int outputs() const override { return twin_.spec().outputs(); }
  int classes() const override { return twin_.spec().classes; }
  Loss loss() const override { return twin_.spec().loss; }
  void logits(std::span<const float> x, std::span<float> logits) override {
    std::ranges::copy(twin_.logits(x), logits.begin());
  }
  void input_gradient(std::span<const float> x, std::span<const float> logit_gradient,
                      std::span<float> gradient) override {
    std::ranges::copy(twin_.input_gradient(x, logit_gradient), gradient.begin());
  }

 private:
  const ScalarTwin& twin_;
};

}  // namespace

Perturbed perturb(const ScalarTwin& model, const HostTable& rows, const Pgd& attack, std::uint32_t update) {
  TwinClassifier classifier(model);
  return occam::perturb(classifier, rows.x, rows.y, attack, update);
}

std::vector<float> fit_universal(const ScalarTwin& model, const HostTable& rows, const AsUap& attack) {
  TwinClassifier classifier(model);
  return occam::fit_universal(classifier, rows.x, rows.y, attack);
}

Universal fit_universal(const ScalarTwin& model, const HostTable& rows, const SvdUap& attack) {
  TwinClassifier classifier(model);
  return occam::fit_universal(classifier, rows.x, rows.y, attack);
}

HostTable shifted(const HostTable& rows, int classes, std::span<const float> universal, double lower,
                  double upper) {
  HostTable moved = rows;
  moved.x = occam::shifted(rows.x, rows.y, classes, universal, lower, upper);
  return moved;
}

}  // namespace occam::test
