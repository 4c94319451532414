#include <algorithm>
#include <limits>

#include "experiment/results.hpp"
#include "experiment/shape_measure.hpp"
#include "io/npz.hpp"
#include "occam/error.hpp"
#include "occam/statistics.hpp"

namespace occam::experiment {
namespace {

void add_any(NpzWriter& writer, const std::string& name, NpyType type, const std::vector<std::byte>& bytes,
             const std::vector<std::int64_t>& shape) {
  const auto as = [&]<class T>(T) {
    writer.add(name, std::span<const T>(reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)),
               shape);
  };
  switch (type) {
    case NpyType::float32: return as(float{});
    case NpyType::float64: return as(double{});
    case NpyType::int32: return as(std::int32_t{});
    case NpyType::int64: return as(std::int64_t{});
    case NpyType::uint8: return as(std::uint8_t{});
    case NpyType::boolean: return as(bool{});
  }
}

// history/*: [members][checks], padded with −1 and NaN after a member's last check.
class HistoryArrays {
 public:
  HistoryArrays(const Run& run, std::size_t c) : run_(run), case_(c), members_(run.plan.members.size()) {
    for (std::size_t m = 0; m < members_; ++m)
      checks_ = std::max(checks_, run.record(c, m).history.checks.size());
  }

  void write(NpzWriter& writer, const std::string& prefix) const {
    if (checks_ == 0) return;
    std::vector<std::int64_t> updates(members_ * checks_, -1);
    for (std::size_t m = 0; m < members_; ++m) {
      const auto& checks = run_.record(case_, m).history.checks;
      for (std::size_t k = 0; k < checks.size(); ++k) updates[m * checks_ + k] = checks[k].updates;
    }
    writer.add(prefix + "updates", updates, shape());
    const PlannedCase& planned = run_.plan.cases[case_];
    const auto column = [&](const std::string& name, auto value) {
      std::vector<double> values(members_ * checks_, kNan);
      for (std::size_t m = 0; m < members_; ++m) {
        const auto& checks = run_.record(case_, m).history.checks;
        for (std::size_t k = 0; k < checks.size(); ++k) values[m * checks_ + k] = value(checks[k]);
      }
      writer.add(prefix + name, values, shape());
    };
    column("train_accuracy", [](const Check& c) { return c.train_accuracy; });
    column("train_loss", [](const Check& c) { return c.train_loss; });
    column("test_accuracy", [](const Check& c) { return c.test_accuracy; });
    column("test_loss", [](const Check& c) { return c.test_loss; });
    if (!planned.data.empty() && rows(planned.data.front(), Split::validation) > 0) {
      column("validation_accuracy", [](const Check& c) { return c.validation_accuracy; });
      column("validation_loss", [](const Check& c) { return c.validation_loss; });
    }
    if (!run_.options.measure_at_checks) return;
    if (planned.settings.attacks.pgd)
      column("pgd_accuracy", [](const Check& c) { return c.pgd ? c.pgd->accuracy : kNan; });
    if (planned.settings.shapes) {
      for (const auto& [name, number] : names_at_checks(planned.data.front()))
        column(name + "_accuracy",
               [number = number](const Check& c) { return c.further.at(number).accuracy; });
      return;
    }
    const auto auc_of = [](std::size_t variant) {
      return [variant](const Check& c) {
        return variant < c.randomized.size() ? c.randomized[variant].mean_auc() : kNan;
      };
    };
    column("s_randomized_auc", auc_of(0));
    column("sc_randomized_auc", auc_of(1));
  }

 private:
  std::vector<std::int64_t> shape() const {
    return {static_cast<std::int64_t>(members_), static_cast<std::int64_t>(checks_)};
  }
  const Run& run_;
  std::size_t case_, members_, checks_ = 0;
};

// A member's array where it has none, because it diverged: NaN, or zeros of whole numbers.
std::vector<std::byte> nothing(const MemberArray& like) {
  const auto filled = [&]<class T>(T value) {
    const std::vector<T> values(like.bytes.size() / sizeof(T), value);
    const auto bytes = std::as_bytes(std::span(values));
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  if (like.type == NpyType::float32) return filled(std::numeric_limits<float>::quiet_NaN());
  if (like.type == NpyType::float64) return filled(kNan);
  return std::vector<std::byte>(like.bytes.size());
}

const MemberArray* find_array(const MemberRecord& record, const std::string& name) {
  for (const MemberArray& array : record.arrays)
    if (array.name == name) return &array;
  return nullptr;
}

// Arrays that the members brought along, stacked by name in the order of the first member that has them: of all
// members, or of those that are kept.
void write_member_arrays(NpzWriter& writer, const Run& run, std::size_t c, const std::string& prefix) {
  std::vector<std::string> names;
  for (std::size_t m = 0; m < run.plan.members.size(); ++m)
    for (const MemberArray& array : run.record(c, m).arrays)
      if (std::find(names.begin(), names.end(), array.name) == names.end()) names.push_back(array.name);
  for (const std::string& name : names) {
    const std::size_t members = run.plan.members.size();
    const MemberArray* first = nullptr;
    std::size_t count = std::min(members, static_cast<std::size_t>(run.options.keep));
    for (std::size_t m = 0; m < members; ++m)
      if (const MemberArray* array = find_array(run.record(c, m), name)) {
        if (!first) first = array;
        if (m >= count) count = members;
      }
    std::vector<std::byte> bytes;
    for (std::size_t m = 0; m < (first->single ? members : count); ++m) {
      const MemberArray* array = find_array(run.record(c, m), name);
      if (!array && first->single) continue;
      const std::vector<std::byte> part = array ? array->bytes : nothing(*first);
      require(!array || (array->type == first->type && array->shape == first->shape),
              "{}{}: members differ in shape", prefix, name);
      bytes.insert(bytes.end(), part.begin(), part.end());
    }
    std::vector<std::int64_t> shape = first->shape;
    if (!first->single) shape.insert(shape.begin(), static_cast<std::int64_t>(count));
    add_any(writer, prefix + name, first->type, bytes, shape);
  }
}

}  // namespace

void write_arrays(const Run& run, const std::filesystem::path& path) {
  NpzWriter writer(path.string());
  for (std::size_t c = 0; c < run.plan.cases.size(); ++c) {
    const std::string prefix = run.plan.cases[c].settings.name + "/";
    HistoryArrays(run, c).write(writer, prefix + "history/");
    write_member_arrays(writer, run, c, prefix);
  }
  writer.close();
}

}  // namespace occam::experiment
