// Scores of rows that one vector has moved (backend.hpp: Shift).
#include <vector>

#include "cuda/scorer.hpp"

namespace occam::cuda {

void Scorer::upload_shifts(std::span<const Shift> shifts) {
  const auto inputs = static_cast<std::size_t>(data_.spec().inputs);
  std::vector<float> vectors;
  std::vector<law::AttackConstants> bounds(shifts.size());
  for (std::size_t k = 0; k < shifts.size(); ++k) {
    require(shifts[k].perturbation.size() == inputs, "score: a shift of {} values, the network has {} inputs",
            shifts[k].perturbation.size(), inputs);
    vectors.insert(vectors.end(), shifts[k].perturbation.begin(), shifts[k].perturbation.end());
    bounds[k] = {};
    bounds[k].lower = static_cast<float>(shifts[k].lower),
    bounds[k].upper = static_cast<float>(shifts[k].upper);
  }
  const auto slots = static_cast<std::int64_t>(shifts.size());
  Stream& stream = data_.stream();
  copy_to_device(stream, ensure(shift_, "score shifts", slots * data_.spec().inputs), vectors.data(),
                 vectors.size());
  copy_to_device(stream, ensure(bounds_, "score bounds", slots), bounds.data(), bounds.size());
}

void Scorer::shift_rows(const Group& group, const SplitRows& rows) {
  launch_universal_shift(data_.stream(), {.rows = {.slots = rows.slots,
                                                   .first = rows.first,
                                                   .firsts = nullptr,
                                                   .all = rows_.data(),
                                                   .labels = labels_.data(),
                                                   .pitch = group.pitch},
                                          .attacks = bounds_.data(),
                                          .classes = data_.spec().classes,
                                          .inputs = data_.spec().inputs,
                                          .x = x_.data(),
                                          .moved = x_.data(),
                                          .universal = shift_.data(),
                                          .gradient = nullptr});
}

void Scorer::score(std::span<const int> members, Split split, std::span<const Shift> shifts, bool auc,
                   std::span<WaveScore> scores) {
  require(shifts.size() == members.size() && scores.size() >= members.size(),
          "score: {} members, {} shifts, room for {} scores", members.size(), shifts.size(), scores.size());
  for (const int m : members)
    require(m >= 0 && m < data_.members(), "score: member {} is outside 0 … {}", m, data_.members() - 1);
  const NvtxRange range{"score shifted"};
  const int lists = auc ? lists_of(data_.spec().outputs()) : 0;
  struct Until {
    bool& flag;
    ~Until() { flag = false; }
  } until{shifted_};
  shifted_ = true;
  for (std::size_t done = 0; done < members.size();) {
    const auto rest = members.subspan(done);
    const auto count = static_cast<std::size_t>(group_size(rest, split, lists, false, true));
    upload_shifts(shifts.subspan(done, count));
    score_group(open_group(rest.first(count), split), {}, auc, scores.subspan(done, count));
    done += count;
  }
}

}  // namespace occam::cuda
