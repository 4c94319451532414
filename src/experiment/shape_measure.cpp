#include "experiment/shape_measure.hpp"

#include <algorithm>
#include <map>
#include <memory>

#include "backend.hpp"
#include "law/loss.hpp"
#include "occam/error.hpp"
#include "shape_set.hpp"

namespace occam::experiment {
namespace {

constexpr std::int64_t kPictures = 12;
constexpr std::pair<Arrangement, const char*> kSets[] = {{Arrangement::iid, "iid"},
                                                         {Arrangement::uniform, "uniform"},
                                                         {Arrangement::swapped, "swapped"},
                                                         {Arrangement::conflict, "conflict"}};

struct TestSet {
  std::string name;
  Data data;
};

const ShapeSpec& spec_of(const Data& data) { return std::get<ShapeData>(data).set->spec(); }

// Conflicting places may be missing; the other sets are always there.
bool has(const ShapeSpec& spec, Arrangement arrangement) {
  if (arrangement != Arrangement::conflict) return true;
  for (int k = 0; k < spec.classes(); ++k)
    if (conflict_places(spec, k).empty()) return false;
  return true;
}

// The same images, the test rows in another arrangement; where that is missing, in that of the training rows. Members that
// share masks still do.
std::vector<Data> arranged(std::span<const Data> data, Arrangement arrangement) {
  std::map<const ShapeSet*, std::shared_ptr<const ShapeSet>> made;
  std::vector<Data> result;
  for (const Data& one : data) {
    auto& set = made[std::get<ShapeData>(one).set.get()];
    if (!set) {
      ShapeSpec spec = spec_of(one);
      spec.test = has(spec, arrangement) ? arrangement : Arrangement::iid;
      set = std::get<ShapeData>(shape_data(spec, {seed(one)}).front()).set;
    }
    result.push_back(ShapeData{set, seed(one)});
  }
  return result;
}

// The first rows of a split, on the host.
struct Pictures {
  std::vector<float> image;           // [count][pixels]
  std::vector<std::int32_t> classes;  // [count]
};

Pictures pictures(const Data& data, Split split) {
  const std::int64_t count = std::min(kPictures, rows(data, split));
  Pictures some{std::vector<float>(static_cast<std::size_t>(count * dim(data))),
                std::vector<std::int32_t>(static_cast<std::size_t>(count))};
  generate(data, first_row(data, split), count, some.image.data(), some.classes.data());
  return some;
}

// d(logit 1 − logit 0)/dx, or of the one logit, for images [count][pixels].
std::vector<float> saliency(const MlpEnsemble& models, int member, const Data& data, Which which,
                            std::span<const float> images) {
  const auto outputs = static_cast<std::size_t>(models.spec().outputs());
  const std::size_t count = images.size() / static_cast<std::size_t>(models.spec().inputs);
  std::vector<float> logit_gradient(count * outputs, 0.0f), gradient(images.size());
  for (std::size_t i = 0; i < count; ++i) {
    if (outputs > 1) logit_gradient[i * outputs] = -1.0f;
    logit_gradient[i * outputs + (outputs > 1 ? 1 : 0)] = 1.0f;
  }
  const Seeds seeds = models.seeds(member);
  const WaveRequest request{&models.spec(), {&data, 1}, {&seeds, 1}, {}};
  const std::unique_ptr<Wave> wave = backend(models.device()).open(request);
  wave->load(0, which == Which::last ? models.last(member) : models.best(member));
  wave->input_gradient(0, images, logit_gradient, gradient);
  return gradient;
}

// What the pictures of a report are made from.
void add_pictures(MemberRecord& record, const MlpEnsemble& models, int member, const Data& train,
                  std::span<const TestSet> sets, Which which) {
  const ShapeSpec& spec = spec_of(train);
  const std::int64_t height = spec.height(), width = spec.width();
  std::vector<float> masks;
  for (const Mask& mask : spec.masks) masks.insert(masks.end(), mask.coverage.begin(), mask.coverage.end());
  record.arrays.push_back(member_array<float>("masks", masks, {spec.classes(), height, width}, true));
  const auto add = [&](const std::string& name, const std::string& classes, const Pictures& some) {
    const auto count = static_cast<std::int64_t>(some.classes.size());
    record.arrays.push_back(member_array<float>(name, some.image, {count, height, width}, true));
    record.arrays.push_back(member_array<std::int32_t>(classes, some.classes, {count}, true));
  };
  if (rows(train, Split::train) > 0) add("train/image", "train/class", pictures(train, Split::train));

  std::vector<float> all;  // test images of all sets
  for (const auto& [name, data] : sets) {
    const Pictures some = pictures(data, Split::test);
    add("images/" + name, "images/" + name + "_class", some);
    all.insert(all.end(), some.image.begin(), some.image.end());
  }
  const std::vector<float> logit = logits(models, member, all, which),
                           gradient = saliency(models, member, train, which, all);
  const auto pixels = static_cast<std::size_t>(height * width), count = all.size() / pixels / sets.size();
  const int outputs = models.spec().outputs();
  for (std::size_t k = 0; k < sets.size(); ++k) {
    const std::string& name = sets[k].name;
    std::vector<std::int32_t> predicted;
    for (std::size_t i = k * count; i < (k + 1) * count; ++i)
      predicted.push_back(
          law::predicted_class(logit.data() + i * static_cast<std::size_t>(outputs), outputs));
    const auto images = static_cast<std::int64_t>(count);
    record.arrays.push_back(
        member_array<std::int32_t>("images/" + name + "_predicted", predicted, {images}, true));
    record.arrays.push_back(member_array<float>(
        "saliency/" + name, std::span(gradient).subspan(k * count * pixels, count * pixels),
        {images, height, width}, true));
  }
}

// Scores and places of every test image.
void add_scores(MemberRecord& record, const MlpEnsemble& models, int member, const TestSet& tested,
                Which which) {
  const auto& [set, data] = tested;
  const Logits values = logits(models, member, data, {}, which);
  std::vector<std::int32_t> offsets;
  for (const law::ShapePlace& place : shape_places(std::get<ShapeData>(data), Split::test)) {
    offsets.push_back(place.dx);
    offsets.push_back(place.dy);
  }
  record.arrays.push_back(member_array<float>("scores/" + set, scores_of(values), {values.rows}));
  record.arrays.push_back(member_array<std::int32_t>("classes/" + set, values.labels, {values.rows}));
  record.arrays.push_back(member_array<std::int32_t>("offsets/" + set, offsets, {values.rows, 2}));
}

}  // namespace

std::vector<std::vector<Data>> sets_at_checks(std::span<const Data> data) {
  std::vector<std::vector<Data>> sets;
  for (const auto& [arrangement, name] : std::span(kSets).subspan(1))
    sets.push_back(arranged(data, arrangement));
  return sets;
}

std::vector<SetAtChecks> names_at_checks(const Data& data) {
  std::vector<SetAtChecks> names;
  for (std::size_t k = 1; k < std::size(kSets); ++k)
    if (has(spec_of(data), kSets[k].first)) names.push_back({kSets[k].second, k - 1});
  return names;
}

void measure_shapes(const MlpEnsemble& models, std::span<const Data> data, const Plan& plan,
                    const Options& options, std::span<const Place> places, std::span<MemberRecord> records) {
  const auto case_of = [&](std::size_t i) -> const PlannedCase& {
    return plan.cases[static_cast<std::size_t>(places[i].planned_case)];
  };
  const Which which = case_of(0).settings.evaluate;
  std::vector<const char*> names;
  std::vector<std::vector<Data>> arrangements;  // [set][member]
  std::vector<std::vector<bool>> there;         // what is not is scored and forgotten
  for (const auto& [arrangement, name] : kSets) {
    std::vector<bool> has_it;
    for (std::size_t i = 0; i < places.size(); ++i) has_it.push_back(has(spec_of(data[i]), arrangement));
    if (std::ranges::count(has_it, true) == 0) continue;
    names.push_back(name), there.push_back(std::move(has_it));
    arrangements.push_back(arranged(data, arrangement));
  }
  const auto scores = score(models, arrangements, which);
  std::vector<std::vector<TestSet>> sets(places.size());  // [member][set]
  for (std::size_t s = 0; s < names.size(); ++s) {
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (!there[s][i]) continue;
      sets[i].push_back({names[s], arrangements[s][i]});
      const std::string prefix = std::string(names[s]) + "_";
      records[i].metrics.emplace_back(prefix + "accuracy", scores[s][i].accuracy);
      records[i].metrics.emplace_back(prefix + "loss", scores[s][i].loss);
      records[i].metrics.emplace_back(prefix + "auc", scores[s][i].mean_auc());
    }
  }
  for (std::size_t i = 0; i < places.size(); ++i) {
    MemberRecord& record = records[i];
    const int m = static_cast<int>(i);
    add_history(record, which);
    if (places[i].member < options.keep)
      for (const TestSet& set : sets[i]) add_scores(record, models, m, set, which);
    if (places[i].member == 0) add_pictures(record, models, m, data[i], sets[i], which);
    if (options.save_weights) {
      add_weights(record, "last", models, models.last(m));
      add_weights(record, "best", models, models.best(m));
    }
  }
}

}  // namespace occam::experiment
