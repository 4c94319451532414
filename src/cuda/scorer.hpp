// Scores members of a wave on splits and their randomised variants, chunk of rows by chunk of rows, several
// members at once.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "../backend.hpp"
#include "auc.hpp"
#include "cuda/wave_data.hpp"
#include "evaluate.hpp"
#include "loss.hpp"
#include "perturb.hpp"
#include "split_rows.hpp"

namespace occam::cuda {

// Lists of scores that AUC needs of a row.
inline int lists_of(int outputs) { return outputs <= 2 ? 1 : outputs; }

class Scorer {
 public:
  // budget: device bytes for scratch; one member's rows are taken in chunks that fit. plan: how to score in
  // one launch, if that can be; multiprocessors: of the device, to spread it over.
  Scorer(WaveData& data, std::int64_t budget, std::optional<EvaluationPlan> plan, int multiprocessors)
      : data_(data), budget_(budget), plan_(plan), multiprocessors_(multiprocessors) {}

  // Fills the training rows that WaveData left room for.
  void generate_training_rows();

  void score(std::span<const int> members, Split split, const Randomization& variant, bool auc,
             std::span<WaveScore> scores);
  void score(std::span<const int> members, Split split, std::span<const Shift> shifts, bool auc,
             std::span<WaveScore> scores);
  void logits(int member, Split split, const Randomization& variant, std::span<float> out);
  void logits(int member, std::span<const float> x, std::span<float> out);

  // Device bytes that a member with so many rows in a split takes whatever the budget is.
  static std::int64_t least_bytes(const MlpSpec& spec, std::int64_t rows);

 private:
  // Members that are worked on together and how many rows of each at a time.
  struct Group {
    std::span<const int> members;
    Split split;
    std::int64_t pitch;  // rows of the longest member
    int capacity;        // rows at a time, a multiple of 32
    bool floats;         // rows are floats in memory: not images as they are
  };
  std::int64_t row_bytes(bool floats) const;
  int group_size(std::span<const int> members, Split split, int lists, bool variant, bool floats) const;
  Group open_group(std::span<const int> members, Split split, bool floats = true);
  void prepare_variant(const Group& group, const Randomization& variant);
  SplitRows split_rows(const Group& group, std::int64_t first, bool variant);
  void ensure_activations(std::int64_t count);  // floats
  void ensure_chunk(const Group& group);
  Slots slots(const Group& group) const;

  // For each chunk: its logits on the device, [slots][capacity][padded(outputs)].
  using EachChunk = std::function<void(std::int64_t first, const Slots& slots, const float* logits)>;
  void for_each_chunk(const Group& group, bool variant, const EachChunk& each);
  const float* forward(const Slots& slots, Split split, const float* x, std::int64_t first_row);

  void upload_shifts(std::span<const Shift> shifts);
  void shift_rows(const Group& group, const SplitRows& rows);

  // Counts a group's rows, chunk by chunk or in one launch. keys: for AUC, too.
  struct Counting {
    const std::int32_t* targets;
    Tally* tally;
    bool keys;
  };
  void count_chunks(const Group& group, bool variant, const Counting& counting);
  void count_at_once(const Group& group, bool variant, const Counting& counting);
  // Predicted classes of a group's rows into targets_.
  const std::int32_t* predict(const Group& group);
  EvaluationArguments evaluation(const Group& group, bool variant);
  void score_group(const Group& group, const Randomization& variant, bool auc, std::span<WaveScore> scores);
  void add_aucs(const Group& group, int lists, std::span<WaveScore> scores);
  void copy_logits(const float* logits, std::int64_t rows, float* out);

  WaveData& data_;
  std::int64_t budget_;
  std::optional<EvaluationPlan> plan_;
  int multiprocessors_;
  bool shifted_ = false;                            // the rows in hand move by shift_
  DeviceBuffer<int> member_, rows_in_hand_;         // [slots]
  DeviceBuffer<std::int64_t> rows_;                 // [slots]
  DeviceBuffer<std::int32_t> labels_, targets_;     // [slots][pitch]
  DeviceBuffer<std::uint32_t> donors_;              // [slots][pitch]
  DeviceBuffer<unsigned char> randomized_;          // [inputs]
  DeviceBuffer<float> shift_;                       // [slots][inputs]
  DeviceBuffer<law::AttackConstants> bounds_;       // [slots] of shifted rows
  DeviceBuffer<float> plain_, x_, activations_[2];  // [slots][capacity][…]
  DeviceBuffer<float> losses_;                      // [slots][capacity]
  DeviceBuffer<std::int32_t> predicted_;            // [slots][capacity]
  DeviceBuffer<Tally> tally_;                       // [slots]
  DeviceBuffer<std::uint64_t> keys_, sorted_;       // [slots][lists][pitch]
  DeviceBuffer<RankSum> rank_sums_;                 // [slots][lists]
};

}  // namespace occam::cuda
