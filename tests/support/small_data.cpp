#include "support/small_data.hpp"

#include <cstdlib>
#include <random>
#include <string>

namespace occam::test {

namespace {

float uniform(std::mt19937& random, float low, float high) {
  return low + (high - low) * (static_cast<float>(random() >> 8) * 0x1p-24f);
}

}  // namespace

ArrayData::Table clouds(const TableShape& shape, std::uint32_t seed, double distance) {
  std::mt19937 random(seed);
  ArrayData::Table table;
  table.dim = shape.dim, table.classes = shape.classes;
  table.train = shape.train, table.validation = shape.validation, table.test = shape.test;
  std::vector<float> centre(static_cast<std::size_t>(shape.classes) * static_cast<std::size_t>(shape.dim));
  for (float& value : centre) value = static_cast<float>(distance) * uniform(random, -1, 1);
  for (std::int64_t row = 0; row < shape.train + shape.validation + shape.test; ++row) {
    const auto label = static_cast<std::int32_t>(random() % static_cast<std::uint32_t>(shape.classes));
    table.y.push_back(label);
    for (int k = 0; k < shape.dim; ++k)
      table.x.push_back(centre[static_cast<std::size_t>(label * shape.dim + k)] + uniform(random, -1, 1) +
                        uniform(random, -1, 1));
  }
  return table;
}

std::shared_ptr<const ArrayData::Table> shared(ArrayData::Table table) {
  return std::make_shared<const ArrayData::Table>(std::move(table));
}

Data clouds_data(const TableShape& shape, std::uint32_t seed, double distance) {
  return ArrayData{shared(clouds(shape, seed, distance)), seed};
}

std::vector<float> random_parameters(const MlpSpec& spec, std::uint32_t seed) {
  const ParameterLayout layout(spec);
  std::vector<float> parameters(static_cast<std::size_t>(layout.total));
  initialize(spec, layout, {}, seed, parameters);
  std::mt19937 random(seed + 1);
  const auto fill = [&](std::int64_t first, std::int64_t count, float low, float high) {
    for (std::int64_t i = 0; first >= 0 && i < count; ++i)
      parameters[static_cast<std::size_t>(first + i)] = uniform(random, low, high);
  };
  for (const ParameterLayout::Layer& layer : layout.layers) {
    fill(layer.slope, 1, -0.3f, 0.4f);
    fill(layer.gamma, layer.fan_out, 0.5f, 1.5f);
    fill(layer.beta, layer.fan_out, -0.5f, 0.5f);
    fill(layer.running_mean, layer.fan_out, -0.5f, 0.5f);
    fill(layer.running_variance, layer.fan_out, 0.5f, 2.0f);
  }
  return parameters;
}

Device cpu(int threads) {
  return {.kind = DeviceKind::cpu, .index = 0, .threads = threads, .name = "test", .reason = ""};
}

OneMember::OneMember(const MlpSpec& spec, const Data& data, const Seeds& seeds, const Training& training,
                     std::span<const float> parameters)
    : spec_(spec), total_(ParameterLayout(spec).total), data_(data), seeds_(seeds), training_(training),
      wave_(backend(cpu()).open({&spec_, {&data_, 1}, {&seeds_, 1}, {&training_, 1}})) {
  wave_->load(0, parameters);
}

std::vector<float> OneMember::parameters() const {
  std::vector<float> result(static_cast<std::size_t>(total_));
  wave_->store(0, result);
  return result;
}

std::vector<float> OneMember::logits(Split split, const Randomization& variant) {
  std::vector<float> result(static_cast<std::size_t>(rows(data_, split) * spec_.outputs()));
  wave_->logits(0, split, variant, result);
  return result;
}

WaveScore OneMember::score(Split split, const Randomization& variant, bool auc) {
  const int member = 0;
  WaveScore result;
  wave_->score({&member, 1}, split, variant, auc, {&result, 1});
  return result;
}

Environment::Environment(const char* name, const char* value) : name_(name) {
  const char* before = std::getenv(name);
  had_ = before != nullptr;
  if (had_) before_ = before;
  setenv(name, value, 1);
}

Environment::~Environment() { had_ ? setenv(name_, before_.c_str(), 1) : unsetenv(name_); }

}  // namespace occam::test
