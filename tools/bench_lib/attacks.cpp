#include "attacks.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

#include "io/npz.hpp"
#include "occam/error.hpp"

namespace occam::bench {

namespace {

using nlohmann::json;

// Notebook 6's settings for LMS-5; epsilon and step of PGD in units of the range R.
constexpr Pgd kPgd{.epsilon = 0.5, .step = 0.05, .iterations = 20};
constexpr SvdUap kSvd{{.epsilon = 1.0, .step = 0.05, .iterations = 30}, 1.0};
constexpr AsUap kAs{.epsilon = 1.0, .step = 0.05, .iterations = 30, .epochs = 2};

constexpr std::array<int, 1> kSimplest{0};

// FLOP on one member's rows: products of the model alone, 2 FLOP a multiply-add. An iteration is a forward
// pass and the gradient of the inputs; what it leads to is one more forward pass.
struct PartFlop {
  double forward;  // of all rows
  double iterations(int count) const { return 2 * forward * count; }
  double open() const { return forward; }
  double pgd() const { return iterations(kPgd.iterations) + forward; }
  double svd() const { return iterations(kSvd.attack.iterations) + forward + 2 * forward; }  // both signs
  double as() const { return iterations(kAs.iterations * kAs.epochs) + forward; }
};

PartFlop part_flop(const MlpSpec& spec, std::int64_t rows) {
  double multiply_adds = 0;
  for (int layer = 0; layer < spec.layers(); ++layer)
    multiply_adds += static_cast<double>(spec.fan_in(layer)) * spec.fan_out(layer);
  return {2 * multiply_adds * static_cast<double>(rows)};
}

}  // namespace

Attacked::Attacked(const json& request)
    : problem_(request), models_(problem_.network, problem_.seeds(), problem_.device),
      data_(problem_.data()) {
  for (const Data& of_member : data_) rotations_.push_back(rotation(of_member));
  const Stopwatch watch;
  const History history = fit(models_, data_, problem_.trainings(), {});
  watch.report(training_);
  for (const MemberHistory& member : history) {
    training_["updates"].push_back(member.updates);
    training_["test_accuracy"].push_back(member.checks.back().test_accuracy);
  }
}

json Attacked::describe() const {
  const PartFlop flop = part_flop(models_.spec(), problem_.spec.test);
  json reply = training_;
  reply["rows"] = problem_.spec.test;
  reply["flop"] = {{"open", flop.open()},
                   {"pgd", flop.pgd()},
                   {"svd", flop.svd()},
                   {"as", flop.as()},
                   {"all", flop.pgd() + flop.svd() + flop.as()}};
  return reply;
}

AttackSuite Attacked::suite(const std::string& part, std::uint32_t seed) const {
  AttackSuite suite{.in_range_units = true};
  const bool all = part == "all";
  if (part == "open") suite.pgd = Pgd{.epsilon = 0, .iterations = 1};  // moves nothing
  if (all || part == "pgd") suite.pgd = kPgd, suite.pgd->seed = seed;
  if (all || part == "svd") suite.svd_uap = kSvd, suite.svd_uap->attack.seed = seed;
  if (all || part == "as") suite.as_uap = kAs;
  require(!suite.empty(), "part: '{}' is not known (use open, pgd, svd, as or all)", part);
  return suite;
}

json Attacked::run(const json& request) const {
  const std::string part = request.at("part");
  std::vector<AttackSuite> suites;
  for (const Seeds& of_member : problem_.seeds()) suites.push_back(suite(part, of_member.order));
  std::optional<MlpEnsemble> on_threads;
  if (problem_.device.kind == DeviceKind::cpu) {
    on_threads.emplace(problem_.network, problem_.seeds(), select_device("cpu", request.value("threads", 1)));
    for (int m = 0; m < models_.members(); ++m)
      std::ranges::copy(models_.last(m), on_threads->last(m).begin());
  }
  json reply{{"members", models_.members()}};
  const auto members = static_cast<std::size_t>(models_.members());
  std::vector<double> accuracy[3], share[3];
  for (auto* of : {&accuracy, &share})
    for (std::vector<double>& values : *of) values.resize(members);
  const auto take = [&](int member, AttackResult&& made) {
    const auto m = static_cast<std::size_t>(member);
    const auto put = [&](int attack, double of_rows, std::span<const float> perturbations) {
      accuracy[attack][m] = of_rows;
      share[attack][m] = perturbation_share(perturbations, rotations_[m], models_.spec().inputs, kSimplest);
    };
    if (made.pgd) put(0, made.pgd_score.accuracy, made.pgd->perturbation);
    if (made.svd_uap) put(1, made.svd_uap->score.accuracy, made.svd_uap->perturbation);
    if (made.as_uap) put(2, made.as_uap->score.accuracy, made.as_uap->perturbation);
  };
  const Stopwatch watch;
  attack(on_threads ? *on_threads : models_, data_, suites, take);
  watch.report(reply);
  const AttackSuite& made = suites.front();
  const bool there[] = {made.pgd.has_value(), made.svd_uap.has_value(), made.as_uap.has_value()};
  for (int attack = 0; attack < 3; ++attack)
    if (part != "open" && there[attack])
      reply[std::array{"pgd", "svd", "as"}[static_cast<std::size_t>(attack)]] = {
          {"accuracy", accuracy[attack]}, {"share", share[attack]}};
  return reply;
}

void Attacked::write(const std::string& path) const {
  const HostTable table = materialize(data_.front(), Split::test);
  const HostTable train = materialize(data_.front(), Split::train);
  const auto [low, high] = std::ranges::minmax(table.x);
  const auto [train_low, train_high] = std::ranges::minmax(train.x);
  const std::vector<float>& turn = rotations_.front();
  NpzWriter file(path, NpzWriter::Compression::store);
  file.add("x", table.x, {table.rows, table.dim});
  file.add("y", table.y, {table.rows});
  file.add("low", std::vector<float>{std::min(low, train_low)}, {1});
  file.add("high", std::vector<float>{std::max(high, train_high)}, {1});
  file.add("simplest", std::vector<float>(turn.begin(), turn.begin() + table.dim), {table.dim});
  const float* const parameters = models_.last(0).data();
  int number = 0;
  for (const ParameterLayout::Layer& layer : models_.layout().layers) {
    const float *weight = parameters + layer.weight, *bias = parameters + layer.bias;
    const std::int64_t in = layer.fan_in, out = layer.fan_out;
    file.add(fmt::format("weight_{}", number), std::vector<float>(weight, weight + out * in), {out, in});
    file.add(fmt::format("bias_{}", number), std::vector<float>(bias, bias + out), {out});
    ++number;
  }
  file.close();
}

}  // namespace occam::bench
