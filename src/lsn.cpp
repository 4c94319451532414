#include "occam/lsn.hpp"

#include <immintrin.h>

#include <algorithm>
#include <cmath>

#include "law/functions.hpp"
#include "law/philox_run.hpp"
#include "occam/error.hpp"
#include "occam/permutation.hpp"
#include "occam/philox.hpp"

namespace occam::lsn {
namespace {

constexpr int kTile = 64;   // rows at a time: those of 200 coordinates take 51 KB
constexpr int kBlock = 4;   // neurons whose sums a register block holds
constexpr int kLanes = 16;  // rows, or lanes of a sum over rows, of a register block

int rounded_up(int value, int step) { return (value + step - 1) / step * step; }

// Rows side by side: coordinate i of row r at x[i * kTile + r]. Lanes beyond `rows` hold what nobody reads.
struct Tile {
  explicit Tile(int dim_)
      : dim(dim_), x(static_cast<std::size_t>(rounded_up(dim_ - 2, 4) + 2) * kTile), y(kTile) {}
  int dim, rows = 0;
  std::vector<float> x, y;

  float* coordinate(int i) { return x.data() + static_cast<std::size_t>(i) * kTile; }
  const float* coordinate(int i) const { return x.data() + static_cast<std::size_t>(i) * kTile; }

  // Rows first … of a batch. Counter {row, block, update, use}: block 0 draws y and ε, block b > 0 the four
  // normal coordinates from index 4b − 2.
  void fill(const Batch& batch, std::int64_t first) {
    rows = static_cast<int>(std::min<std::int64_t>(kTile, batch.rows - first));
    law::PhiloxRun<kTile> run;
    const auto draw_block = [&](int block) {
      run.fill(batch.seed, Stream::lsn, static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(block),
               batch.update, static_cast<std::uint32_t>(batch.use));
    };
    draw_block(0);
    float *x1 = coordinate(0), *x2 = coordinate(1);
    for (int r = 0; r < kTile; ++r) {
      y[static_cast<std::size_t>(r)] = x1[r] = run.word[0][r] >> 31 ? 1.0f : -1.0f;
      x2[r] = 0.5f * (x1[r] + 1.0f) * (run.word[1][r] >> 31 ? 1.0f : -1.0f);
    }
    for (int i = 2, block = 1; i < dim; i += 4, ++block) {
      draw_block(block);
      for (int w = 0; w < 4; ++w)
        for (int r = 0; r < kTile; ++r) coordinate(i + w)[r] = law::standard_normal(run.word[w][r]);
    }
  }
};

float label_of(const Batch& batch, std::uint32_t row) {
  const Philox words =
      draw(batch.seed, Stream::lsn, row, 0, batch.update, static_cast<std::uint32_t>(batch.use));
  return words.word[0] >> 31 ? 1.0f : -1.0f;
}

// Calls body(tile, first) for every tile of a batch, in order.
template <class Body>
void for_each_tile(const Batch& batch, int dim, const Pause& pause, const Body& body) {
  require(batch.rows >= 1 && batch.rows <= (std::int64_t{1} << 31), "rows: {} is outside 1 … 2^31",
          batch.rows);
  Tile tile(dim);
  for (std::int64_t first = 0; first < batch.rows; first += kTile) {
    if (pause && first % (64 * kTile) == 0) pause();
    tile.fill(batch, first);
    body(tile, first);
  }
}

// A net and what a tile does to it.
class Pass {
 public:
  explicit Pass(const Net& net)
      : dim_(net.dim), neurons_(net.neurons), output_(static_cast<float>(net.output(0))), weight_(net.weight),
        before_(static_cast<std::size_t>(rounded_up(neurons_, kBlock)) * kTile), score_(kTile) {
    require(dim_ >= 3 && neurons_ >= 2 && neurons_ % 2 == 0 &&
                net.weight.size() == static_cast<std::size_t>(dim_) * static_cast<std::size_t>(neurons_),
            "lsn: {} weights of {} neurons with {} inputs", net.weight.size(), neurons_, dim_);
    weight_.resize(static_cast<std::size_t>(rounded_up(neurons_, kBlock)) * static_cast<std::size_t>(dim_));
  }

  // h[j][r] = w_j · x_r and f(x_r); every sum runs over ascending indices.
  void forward(const Tile& tile) {
    for (int j = 0; j < neurons_; j += kBlock)
      for (int r = 0; r < kTile; r += kLanes) block_of_products(tile, j, r);
    std::fill(score_.begin(), score_.end(), 0.0f);
    for (int j = 0; j < neurons_; ++j) {
      const float sign = 2 * j < neurons_ ? 1.0f : -1.0f;
      const float* h = before(j);
      for (int r = 0; r < kTile; ++r) score_[static_cast<std::size_t>(r)] += sign * std::max(h[r], 0.0f);
    }
    for (float& score : score_) score *= output_;
  }

  const float* before(int neuron) const { return before_.data() + static_cast<std::size_t>(neuron) * kTile; }
  float* before(int neuron) { return before_.data() + static_cast<std::size_t>(neuron) * kTile; }
  float score(int row) const { return score_[static_cast<std::size_t>(row)]; }

  // sum[j][i] += Σ_r slope[r] 1{h[j][r] > 0} x[r][i]; overwrites h. slope: [kTile], 0 where nothing is to be
  // added; sum: [neurons rounded up to whole blocks][dim].
  void add_gradients(const Tile& tile, const float* slope, float* sum) {
    for (int j = 0; j < neurons_; ++j) {
      float* h = before(j);
      for (int r = 0; r < kTile; ++r) h[r] = h[r] > 0 ? slope[r] : 0.0f;
    }
    for (int j = 0; j < neurons_; j += kBlock)
      for (int i = 0; i < dim_; i += 2) block_of_sums(tile, j, i, sum);
  }

 private:
  // Four neurons by sixteen rows stay in registers.
  void block_of_products(const Tile& tile, int j, int r) {
    const float* w = weight_.data() + static_cast<std::size_t>(j) * static_cast<std::size_t>(dim_);
    __m256 sum[kBlock][2];
    for (auto& row : sum) row[0] = row[1] = _mm256_setzero_ps();
    for (int i = 0; i < dim_; ++i) {
      const float* x = tile.coordinate(i) + r;
      const __m256 low = _mm256_loadu_ps(x), high = _mm256_loadu_ps(x + 8);
#pragma GCC unroll 4
      for (int a = 0; a < kBlock; ++a) {
        const __m256 factor = _mm256_broadcast_ss(w + a * dim_ + i);
        sum[a][0] = _mm256_fmadd_ps(factor, low, sum[a][0]);
        sum[a][1] = _mm256_fmadd_ps(factor, high, sum[a][1]);
      }
    }
    for (int a = 0; a < kBlock; ++a)
      for (int half = 0; half < 2; ++half) _mm256_storeu_ps(before(j + a) + r + 8 * half, sum[a][half]);
  }

  // Four neurons by two coordinates; coordinates come in pairs, the last of an odd number with padding.
  void block_of_sums(const Tile& tile, int j, int i, float* sum) const {
    __m256 lanes[kBlock][2];
    for (auto& row : lanes) row[0] = row[1] = _mm256_setzero_ps();
    const float* x = tile.coordinate(i);
    for (int r = 0; r < kTile; r += 8) {
      const __m256 x0 = _mm256_loadu_ps(x + r), x1 = _mm256_loadu_ps(x + kTile + r);
#pragma GCC unroll 4
      for (int a = 0; a < kBlock; ++a) {
        const __m256 g = _mm256_loadu_ps(before(j + a) + r);
        lanes[a][0] = _mm256_fmadd_ps(g, x0, lanes[a][0]);
        lanes[a][1] = _mm256_fmadd_ps(g, x1, lanes[a][1]);
      }
    }
    for (int a = 0; a < kBlock; ++a)
      for (int half = 0; half < 2 && i + half < dim_; ++half)
        sum[(j + a) * dim_ + i + half] += total(lanes[a][half]);
  }

  static float total(__m256 lanes) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
  }

  int dim_, neurons_;
  float output_;
  std::vector<float> weight_;  // [neurons rounded up][dim]
  std::vector<float> before_;  // [neurons rounded up][kTile]
  std::vector<float> score_;   // [kTile]
};

double normal_distribution(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

// How many standard errors; 0 where nothing differs, though nothing could.
double score(double mean, double expected, double error) {
  return mean == expected ? 0.0 : (mean - expected) / error;
}

}  // namespace

double Net::output(int neuron) const {
  return (2 * neuron < neurons ? 1 : -1) / std::sqrt(static_cast<double>(neurons));
}

Net::Parts Net::parts(int neuron) const {
  const float* w = weight.data() + static_cast<std::size_t>(neuron) * static_cast<std::size_t>(dim);
  double square = 0;
  for (int i = 2; i < dim; ++i) square += static_cast<double>(w[i]) * w[i];
  return {w[0], w[1], std::sqrt(square)};
}

Net initial_net(int dim, int neurons, std::uint32_t seed) {
  require(dim >= 3, "dim: {} is below 3, and then no coordinate is noise", dim);
  require(neurons >= 2 && neurons % 2 == 0, "neurons: {} is not an even number, half of them have v > 0",
          neurons);
  const double log_dim = std::log(static_cast<double>(dim));
  const double deviation = 1 / (std::sqrt(static_cast<double>(dim) * neurons) * log_dim * log_dim);
  Net net{dim, neurons,
          std::vector<float>(static_cast<std::size_t>(dim) * static_cast<std::size_t>(neurons))};
  for (std::size_t e = 0; e < net.weight.size(); ++e) {
    const Philox words = draw(seed, Stream::initialization, static_cast<std::uint32_t>(e / 4));
    net.weight[e] = static_cast<float>(deviation) * law::standard_normal(words.word[e % 4]);
  }
  return net;
}

Rows make_rows(const Batch& batch, int dim) {
  require(dim >= 3, "dim: {} is below 3", dim);
  Rows rows;
  for_each_tile(batch, dim, {}, [&](const Tile& tile, std::int64_t) {
    for (int r = 0; r < tile.rows; ++r) {
      rows.y.push_back(tile.y[static_cast<std::size_t>(r)]);
      for (int i = 0; i < dim; ++i) rows.x.push_back(tile.coordinate(i)[r]);
    }
  });
  return rows;
}

namespace {

// With which probability a neuron fires where x1 = 1, by the sign of x2.
struct Firing {
  double plus, minus;
  explicit Firing(const Net::Parts& p)
      : plus(normal_distribution((p.w1 + p.w2) / p.rest)),
        minus(normal_distribution((p.w1 - p.w2) / p.rest)) {}
};

}  // namespace

Step expected_step(const Net::Parts& p) {
  const auto [plus, minus] = Firing(p);
  return {(2 + plus + minus - 2 * normal_distribution(p.w1 / p.rest)) / 4, (plus - minus) / 4};
}

Step deviation_of_step(const Net::Parts& p) {
  const auto [plus, minus] = Firing(p);
  const Step mean = expected_step(p);
  return {std::sqrt(mean.w1 * (1 - mean.w1)), std::sqrt((plus + minus) / 4 - mean.w2 * mean.w2)};
}

double Identities::max_abs_z() const {
  double largest = 0;
  for (const Step& one : z) {
    if (std::isnan(one.w1) || std::isnan(one.w2)) return std::nan("");
    largest = std::max({largest, std::abs(one.w1), std::abs(one.w2)});
  }
  return largest;
}

// Per sample the gradient is 1{hinge active} 1{w·x > 0} times y x1 = 1 or y x2 in {−1, 0, 1}: three counts a
// neuron hold the whole sample.
Identities measure_identities(const Net& net, const Batch& batch, const Pause& pause) {
  const auto neurons = static_cast<std::size_t>(net.neurons);
  std::vector<std::int64_t> fired(neurons), plus(neurons), minus(neurons);
  Identities result;
  Pass pass(net);
  for_each_tile(batch, net.dim, pause, [&](const Tile& tile, std::int64_t) {
    pass.forward(tile);
    float active[kTile];
    for (int r = 0; r < kTile; ++r)
      active[r] = r < tile.rows && tile.y[static_cast<std::size_t>(r)] * pass.score(r) < 1.0f ? 1.0f : 0.0f;
    for (int r = 0; r < tile.rows; ++r) result.inactive += active[r] == 0.0f;
    const float* x2 = tile.coordinate(1);
    for (std::size_t j = 0; j < neurons; ++j) {
      const float* h = pass.before(static_cast<int>(j));
      int all = 0, up = 0, down = 0;
      for (int r = 0; r < kTile; ++r) {
        const int one = (h[r] > 0.0f) & (active[r] > 0.0f);
        all += one;
        up += one & (x2[r] > 0.0f);
        down += one & (x2[r] < 0.0f);
      }
      fired[j] += all, plus[j] += up, minus[j] += down;
    }
  });
  for (std::size_t j = 0; j < neurons; ++j) {
    const auto rows = static_cast<double>(batch.rows);
    const Step mean{static_cast<double>(fired[j]) / rows, static_cast<double>(plus[j] - minus[j]) / rows};
    const Net::Parts parts = net.parts(static_cast<int>(j));
    const Step expected = expected_step(parts), deviation = deviation_of_step(parts);
    const Step error{deviation.w1 / std::sqrt(rows), deviation.w2 / std::sqrt(rows)};
    result.mean.push_back(mean);
    result.error.push_back(error);
    result.z.push_back({score(mean.w1, expected.w1, error.w1), score(mean.w2, expected.w2, error.w2)});
  }
  return result;
}

Update train_on(Net& net, const Batch& batch, double learning_rate, const Pause& pause) {
  Update update;
  Pass pass(net);
  std::vector<float> sum(static_cast<std::size_t>(rounded_up(net.neurons, kBlock)) *
                         static_cast<std::size_t>(net.dim));
  std::int64_t right = 0;
  for_each_tile(batch, net.dim, pause, [&](const Tile& tile, std::int64_t) {
    pass.forward(tile);
    float slope[kTile] = {};
    for (int r = 0; r < tile.rows; ++r) {
      const float y = tile.y[static_cast<std::size_t>(r)], margin = y * pass.score(r);
      right += margin > 0.0f;
      if (margin < 1.0f) {
        slope[r] = y;
        ++update.active;
        update.loss += 1.0f - margin;
      }
    }
    pass.add_gradients(tile, slope, sum.data());
  });
  const auto rows = static_cast<double>(batch.rows);
  update.loss /= rows;
  update.accuracy = static_cast<double>(right) / rows;
  for (int j = 0; j < net.neurons; ++j) {
    const auto factor = static_cast<float>(learning_rate * net.output(j) / rows);
    float* w = net.weight.data() + static_cast<std::size_t>(j) * static_cast<std::size_t>(net.dim);
    for (int i = 0; i < net.dim; ++i)
      w[i] = law::fma(factor, sum[static_cast<std::size_t>(j * net.dim + i)], w[i]);
  }
  return update;
}

Reliance measure_reliance(const Net& net, const Batch& batch, const Pause& pause) {
  Pass pass(net);
  const KeyedPermutation shuffled(draw(batch.seed, Stream::randomize, 0),
                                  static_cast<std::uint32_t>(batch.rows));
  std::int64_t standard = 0, rest = 0, first_coordinate = 0;
  double loss = 0;
  for_each_tile(batch, net.dim, pause, [&](Tile& tile, std::int64_t first) {
    pass.forward(tile);
    for (int r = 0; r < tile.rows; ++r) {
      const float margin = tile.y[static_cast<std::size_t>(r)] * pass.score(r);
      standard += margin > 0.0f;
      loss += std::max(0.0f, 1.0f - margin);
    }
    // A row with x1 of another: it is a row of the set with x1 shuffled when judged by its own label, and one
    // of the set with all others shuffled when judged by the label that belongs to that x1.
    float* x1 = tile.coordinate(0);
    for (int r = 0; r < tile.rows; ++r)
      x1[r] = label_of(batch, shuffled(static_cast<std::uint32_t>(first + r)));
    pass.forward(tile);
    for (int r = 0; r < tile.rows; ++r) {
      rest += tile.y[static_cast<std::size_t>(r)] * pass.score(r) > 0.0f;
      first_coordinate += x1[r] * pass.score(r) > 0.0f;
    }
  });
  const auto rows = static_cast<double>(batch.rows);
  return {static_cast<double>(standard) / rows, static_cast<double>(rest) / rows,
          static_cast<double>(first_coordinate) / rows, loss / rows};
}

double log_log_slope(const std::vector<std::pair<double, double>>& points) {
  const auto n = static_cast<double>(points.size());
  double mean_x = 0, mean_y = 0, square = 0, product = 0;
  for (const auto& [x, y] : points) mean_x += std::log(x) / n, mean_y += std::log(y) / n;
  for (const auto& [x, y] : points) {
    square += (std::log(x) - mean_x) * (std::log(x) - mean_x);
    product += (std::log(x) - mean_x) * (std::log(y) - mean_y);
  }
  return product / square;
}

}  // namespace occam::lsn
