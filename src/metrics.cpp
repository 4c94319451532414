#include "occam/metrics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "law/functions.hpp"
#include "law/loss.hpp"
#include "law/rotate.hpp"
#include "law/sum.hpp"
#include "occam/philox.hpp"
#include "score_beside.hpp"
#include "waves.hpp"

namespace occam {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::span<const float> parameters(const MlpEnsemble& models, int member, Which which) {
  return which == Which::last ? models.last(member) : models.best(member);
}

void require_member(const MlpEnsemble& models, int member, const Data& data) {
  require(member >= 0 && member < models.members(), "member {} is outside 0 … {}", member,
          models.members() - 1);
  require(dim(data) == models.spec().inputs, "data: dimension {}, the network has {} inputs", dim(data),
          models.spec().inputs);
}

// A wave of one member, loaded.
std::unique_ptr<Wave> open_one(const MlpEnsemble& models, int member, const Data& data, Which which) {
  require_member(models, member, data);
  const Seeds seeds = models.seeds(member);
  std::unique_ptr<Wave> wave = backend(models.device()).open({&models.spec(), {&data, 1}, {&seeds, 1}, {}});
  wave->load(0, parameters(models, member, which));
  return wave;
}

// body(wave, its first member, their number) with the models in every wave, and rows in the split.
template <class Body>
void for_each_loaded(const MlpEnsemble& models, std::span<const Data> data, Which which, Split split,
                     const Body& body, std::span<const std::vector<Data>> later = {}) {
  for (const Data& one : data) require(rows(one, split) > 0, "score: the split has no rows");
  const auto loaded = [&](Wave& wave, WaveRange range) {
    for (int m = 0; m < range.count; ++m) wave.load(m, parameters(models, range.first + m, which));
    body(wave, static_cast<std::size_t>(range.first), static_cast<std::size_t>(range.count));
  };
  for_each_wave(models, data, {}, loaded, nullptr, later);
}

// Key of a score whose order among floats is the order of the integers; −0 and +0 are one value.
std::uint32_t ordered_key(float value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(law::bits_of(value == 0.0f ? 0.0f : value));
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Sorts by the upper 32 bits; `buffer` is as long as `keys`.
void radix_sort(std::vector<std::uint64_t>& keys, std::vector<std::uint64_t>& buffer) {
  for (int shift = 32; shift < 64; shift += 11) {
    constexpr std::size_t kBuckets = 1u << 11;
    std::vector<std::size_t> start(kBuckets + 1, 0);
    for (const std::uint64_t key : keys) ++start[((key >> shift) & (kBuckets - 1)) + 1];
    std::partial_sum(start.begin(), start.end(), start.begin());
    for (const std::uint64_t key : keys) buffer[start[(key >> shift) & (kBuckets - 1)]++] = key;
    keys.swap(buffer);
  }
}

}  // namespace

double roc_auc(std::span<const float> score, std::span<const std::int32_t> positive) {
  require(score.size() == positive.size(), "roc auc: {} scores and {} labels", score.size(), positive.size());
  // Twice the Mann-Whitney statistic is an integer: positives count 2 for every negative below and 1 for
  // every tie.
  std::vector<std::uint64_t> keys(score.size()), buffer(score.size());
  for (std::size_t i = 0; i < score.size(); ++i) {
    if (std::isnan(score[i])) return kNone;
    keys[i] = std::uint64_t{ordered_key(score[i])} << 32 | (positive[i] != 0 ? 1u : 0u);
  }
  radix_sort(keys, buffer);
  std::uint64_t twice = 0, negatives = 0, positives = 0;
  for (std::size_t first = 0, next = 0; first < keys.size(); first = next) {
    std::uint64_t tied_positives = 0;
    for (next = first; next < keys.size() && keys[next] >> 32 == keys[first] >> 32; ++next)
      tied_positives += keys[next] & 1;
    const std::uint64_t tied_negatives = next - first - tied_positives;
    twice += tied_positives * (2 * negatives + tied_negatives);
    negatives += tied_negatives;
    positives += tied_positives;
  }
  if (negatives == 0 || positives == 0) return kNone;
  return static_cast<double>(twice) / (2.0 * static_cast<double>(positives) * static_cast<double>(negatives));
}

std::vector<double> roc_aucs(std::span<const float> logits, int outputs,
                             std::span<const std::int32_t> labels) {
  const std::size_t count = labels.size(), width = static_cast<std::size_t>(outputs);
  std::vector<float> score(count);
  if (outputs <= 2) {
    for (std::size_t i = 0; i < count; ++i)
      score[i] = outputs == 1 ? logits[i] : logits[i * width + 1] - logits[i * width];
    return {roc_auc(score, labels)};
  }
  std::vector<double> result;
  std::vector<std::int32_t> positive(count);
  for (std::size_t c = 0; c < width; ++c) {
    for (std::size_t i = 0; i < count; ++i) {
      float other = -std::numeric_limits<float>::infinity();
      for (std::size_t k = 0; k < width; ++k)
        if (k != c) other = std::max(other, logits[i * width + k]);
      score[i] = logits[i * width + c] - other;
      positive[i] = labels[i] == static_cast<std::int32_t>(c);
    }
    result.push_back(roc_auc(score, positive));
  }
  return result;
}

Score score_of(Loss loss, int outputs, std::span<const float> logits, std::span<const std::int32_t> labels) {
  const auto count = static_cast<std::int64_t>(labels.size());
  law::LaneSum sum;
  std::int64_t correct = 0;
  for (std::int64_t row = 0; row < count; ++row) {
    const float* of_row = logits.data() + row * outputs;
    const std::int32_t label = labels[static_cast<std::size_t>(row)];
    sum.add(row, law::sample_loss(loss, of_row, outputs, label));
    correct += law::predicted_class(of_row, outputs) == label;
  }
  return {static_cast<double>(correct) / static_cast<double>(count),
          static_cast<double>(sum.total() / static_cast<float>(count)), roc_aucs(logits, outputs, labels)};
}

std::vector<std::vector<Score>> score(const MlpEnsemble& models, std::span<const Data> data,
                                      std::span<const Randomization> variants, Which which, Split split) {
  std::vector<std::vector<Score>> result(static_cast<std::size_t>(models.members()));
  for_each_loaded(models, data, which, split, [&](Wave& wave, std::size_t first, std::size_t count) {
    for (const Randomization& variant : variants) {
      heed(models.interrupt());
      std::vector<Score> scores = score_all(wave, data.subspan(first, count), split, variant);
      for (std::size_t m = 0; m < count; ++m) result[first + m].push_back(std::move(scores[m]));
    }
  });
  return result;
}

std::vector<std::vector<Score>> score(const MlpEnsemble& models, std::span<const std::vector<Data>> sets,
                                      Which which, Split split) {
  std::vector<std::vector<Score>> result;
  for (const std::vector<Data>& set : sets) {
    require(static_cast<int>(set.size()) == models.members(), "score: {} data sets for {} members",
            set.size(), models.members());
    for (std::size_t m = 0; m < set.size(); ++m) {
      require(classes(set[m]) <= models.spec().classes,
              "score: set {} of member {} has {} classes, the network {}", result.size(), m, classes(set[m]),
              models.spec().classes);
      for (const Split of : {Split::train, Split::validation, Split::test})
        require(rows(set[m], of) == rows(sets.front()[m], of) && dim(set[m]) == dim(sets.front()[m]),
                "score: set {} of member {} has other sizes than the first; score it in a call of its own",
                result.size(), m);
    }
    result.emplace_back(set.size());
  }
  if (sets.empty()) return result;
  const auto score_wave = [&](Wave& wave, std::size_t first, std::size_t count) {
    std::vector<std::vector<Score>> of_wave = score_sets(wave, sets, first, count, split, models.interrupt());
    for (std::size_t s = 0; s < sets.size(); ++s)
      std::ranges::move(of_wave[s], result[s].begin() + static_cast<std::ptrdiff_t>(first));
  };
  for_each_loaded(models, sets.front(), which, split, score_wave, sets.subspan(1));
  return result;
}

Logits logits(const MlpEnsemble& models, int member, const Data& data, const Randomization& variant,
              Which which, Split split) {
  Logits result;
  result.rows = rows(data, split);
  result.outputs = models.spec().outputs();
  result.values.resize(static_cast<std::size_t>(result.rows * result.outputs));
  open_one(models, member, data, which)->logits(0, split, variant, result.values);
  result.labels = labels(data, split);
  return result;
}

std::vector<float> logits(const MlpEnsemble& models, int member, std::span<const float> x, Which which) {
  const auto inputs = static_cast<std::size_t>(models.spec().inputs);
  require(x.size() % inputs == 0, "logits: {} values are no whole number of rows of {}", x.size(), inputs);
  std::vector<float> result(x.size() / inputs * static_cast<std::size_t>(models.spec().outputs()));
  // A wave wants data; these rows take their place.
  auto table = std::make_shared<ArrayData::Table>();
  table->dim = models.spec().inputs;
  table->classes = models.spec().classes;
  open_one(models, member, ArrayData{table, 0}, which)->logits(0, x, result);
  return result;
}

double Score::mean_auc() const {
  return auc.empty() ? std::numeric_limits<double>::quiet_NaN()
                     : std::accumulate(auc.begin(), auc.end(), 0.0) / static_cast<double>(auc.size());
}

std::vector<float> scores_of(const Logits& logits) {
  std::vector<float> score(static_cast<std::size_t>(logits.rows));
  require(logits.outputs <= 2, "scores: {} logits a row (a single score needs one or two)", logits.outputs);
  for (std::size_t i = 0; i < score.size(); ++i)
    score[i] = logits.outputs == 1 ? logits.values[i] : logits.values[2 * i + 1] - logits.values[2 * i];
  return score;
}

Boundary decision_boundary(const MlpEnsemble& models, int member, const Data& data, int a, int b,
                           std::int64_t points, double limit, bool symmetric, Which which) {
  require_member(models, member, data);
  require(points >= 1, "boundary: {} points (at least 1)", points);
  const int width = dim(data);
  require(a >= 0 && a < width && b >= 0 && b < width && a != b, "boundary: coordinates {} and {} of {}", a, b,
          width);
  const std::int64_t tested = rows(data, Split::test);
  require(tested > 0, "boundary: no test rows to take the range of");
  std::vector<float> x(static_cast<std::size_t>(tested * width));
  std::vector<std::int32_t> y(static_cast<std::size_t>(tested));
  generate(data, first_row(data, Split::test), tested, x.data(), y.data());
  const auto range = [&](int coordinate) {
    float low = x[static_cast<std::size_t>(coordinate)], high = low;
    for (std::int64_t row = 0; row < tested; ++row) {
      const float v = x[static_cast<std::size_t>(row * width + coordinate)];
      low = std::min(low, v), high = std::max(high, v);
    }
    return std::pair(low, high);
  };
  const auto range_a = range(a), range_b = range(b);
  const float top = static_cast<float>(limit), bottom = symmetric ? -top : 0.0f;

  const auto count = static_cast<std::size_t>(points);
  Boundary boundary{std::vector<float>(count), std::vector<float>(count), {}};
  std::vector<float> all(count * static_cast<std::size_t>(width));
  const std::vector<float> matrix = rotation(data);
  const int threads = std::max(1, models.device().threads);
  on_threads(threads, [&](int t) {  // each has a part of the points
    const std::int64_t first = points * t / threads, end = points * (t + 1) / threads;
    for (std::int64_t p = first; p < end; ++p) {
      float* const plain = all.data() + p * width;
      for (int k = 0; k < width; ++k) {
        const auto [low, high] = k == a ? range_a : k == b ? range_b : std::pair(bottom, top);
        const std::uint32_t word =
            draw(seed(data), Stream::boundary, static_cast<std::uint32_t>(p), static_cast<std::uint32_t>(k))
                .word[0];
        plain[k] = law::fma(high - low, uniform01(word), low);
      }
      boundary.a[static_cast<std::size_t>(p)] = plain[a];
      boundary.b[static_cast<std::size_t>(p)] = plain[b];
    }
    if (!matrix.empty()) law::rotate_rows(all.data() + first * width, end - first, width, matrix.data());
  });
  const std::vector<float> of = logits(models, member, all, which);
  const int outputs = models.spec().outputs();
  for (std::int64_t p = 0; p < points; ++p)
    boundary.label.push_back(law::predicted_class(of.data() + p * outputs, outputs));
  return boundary;
}

Alignment first_layer_alignment(const MlpEnsemble& models, int member, const Data& data, int coordinate,
                                Which which) {
  require_member(models, member, data);
  const MlpSpec& spec = models.spec();
  const int width = spec.inputs;
  require(coordinate >= 0 && coordinate < width, "alignment: coordinate {} is outside 0 … {}", coordinate,
          width - 1);
  const std::span<const float> p = parameters(models, member, which);
  const ParameterLayout::Layer& first = models.layout().layers[0];
  const std::vector<float> matrix = rotation(data);
  Alignment result;
  for (int unit = 0; unit < first.fan_out; ++unit) {
    const float* w = p.data() + first.weight + std::int64_t{unit} * width;
    double square = 0,
           along =
               0;  // the coordinate's direction, as the model sees it, is row `coordinate` of the rotation
    for (int k = 0; k < width; ++k) {
      square += double{w[k]} * w[k];
      along += w[k] * (matrix.empty() ? (k == coordinate ? 1.0 : 0.0)
                                      : double{matrix[static_cast<std::size_t>(coordinate * width + k)]});
    }
    const double norm = std::sqrt(square);
    result.norm.push_back(static_cast<float>(norm));
    result.cosine.push_back(static_cast<float>(norm > 0 ? along / norm : 0.0));
  }
  if (spec.hidden.size() != 1) return result;
  const ParameterLayout::Layer& output = models.layout().layers[1];
  const double n = first.fan_out;
  for (int o = 0; o < output.fan_out; ++o) {
    const float* v = p.data() + output.weight + std::int64_t{o} * first.fan_out;
    double mean_c = 0, mean_v = 0;
    for (int unit = 0; unit < first.fan_out; ++unit)
      mean_c += result.cosine[static_cast<std::size_t>(unit)] / n, mean_v += v[unit] / n;
    double cc = 0, vv = 0, cv = 0;
    for (int unit = 0; unit < first.fan_out; ++unit) {
      const double c = result.cosine[static_cast<std::size_t>(unit)] - mean_c, d = v[unit] - mean_v;
      cc += c * c, vv += d * d, cv += c * d;
    }
    result.output_correlation.push_back(cc > 0 && vv > 0 ? cv / std::sqrt(cc * vv) : kNone);
  }
  return result;
}

}  // namespace occam
