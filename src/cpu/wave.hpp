// The CPU body of the contract (backend.hpp): one member a wave, one thread a wave.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "backend.hpp"
#include "cpu/aligned_floats.hpp"
#include "cpu/engine.hpp"
#include "shape_set.hpp"

namespace occam::cpu {

class CpuWave final : public Wave {
 public:
  explicit CpuWave(const WaveRequest& request);

  void load(int member, std::span<const float> parameters) override;
  void initialize(int member, const Initialization& init, std::uint32_t seed) override;
  void store(int member, std::span<float> parameters) const override;
  void show(std::span<const Data> data) override;
  TrainingState training_state(int member) const override;
  void resume(int member, const TrainingState& state) override;
  void train(std::span<const std::int64_t> updates) override;
  void score(std::span<const int> members, Split split, const Randomization& variant, bool auc,
             std::span<WaveScore> scores) override;
  void logits(int member, Split split, const Randomization& variant, std::span<float> out) override;
  void logits(int member, std::span<const float> x, std::span<float> out) override;
  void input_gradient(int member, std::span<const float> x, std::span<const float> logit_gradient,
                      std::span<float> gradient) override;
  void ranges(std::span<const int> members, Split split, std::span<DataRange> out) override;
  void perturb(std::span<const int> members, Split split, std::span<const Pgd> attacks,
               std::span<Perturbed> out) override;
  void fit_universal(std::span<const int> members, Split split, std::span<const AsUap> attacks,
                     std::span<std::vector<float>> out) override;
  void score(std::span<const int> members, Split split, std::span<const Shift> shifts, bool auc,
             std::span<WaveScore> scores) override;

 private:
  // A split as generated, before the rotation, and as the model sees it. The training rows are kept only in
  // the latter form.
  struct Rows {
    std::int64_t count = 0;
    std::vector<float> plain;          // [count][dim]; empty for the training rows
    AlignedFloats x;                   // [count][padded(dim)]
    std::vector<std::int32_t> labels;  // [count]
  };
  // Images of shapes, in place of a member's rows where they need not be floats.
  struct Images {
    law::Shapes shapes;
    std::vector<std::uint8_t> live;      // [pixels], whose weights training changes
    std::vector<law::ShapePlace> train;  // [rows]
    std::vector<std::int32_t> labels;    // of the training rows
  };
  struct Member {
    Data data;
    std::optional<Images> images;
    std::unique_ptr<Engine> engine;
    AlignedFloats rotation;  // [dim][padded(dim)]; null: not rotated
    std::array<std::optional<Rows>, 3> rows;
  };

  // training: null where nothing will be trained.
  Member made(const Data& data, std::uint32_t order_seed, const Training* training) const;
  static Images images_of(const ShapeData& data, const Training* training);
  const Rows& rows(Member& member, Split split);
  WaveScore score_of(std::span<const float> logits, std::span<const std::int32_t> labels, bool auc) const;
  // Engines that attack this member as it is, one a thread.
  std::vector<std::unique_ptr<Engine>> attackers(const Member& member) const;
  Perturbed perturb(Member& member, Split split, const Pgd& attack);
  std::vector<float> fit_universal(Member& member, Split split, const AsUap& attack);
  void logits(Member& member, Split split, const Randomization& variant, float* out);
  void image_logits(Member& member, Split split, float* out);
  Member& at(int member) { return members_[static_cast<std::size_t>(member)]; }

  const MlpSpec spec_;
  const ParameterLayout layout_;
  const int threads_;
  const Interrupt interrupt_;
  const bool trains_;
  std::vector<Member> members_;
};

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads) : threads_(threads) {}
  int concurrency() const override { return threads_; }
  int wave_members(const WaveRequest&) const override { return 1; }
  std::unique_ptr<Wave> open(const WaveRequest& request) override;

 private:
  int threads_;
};

}  // namespace occam::cpu
