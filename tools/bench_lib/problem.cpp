#include "problem.hpp"

#include <chrono>
#include <ctime>

#include "occam/error.hpp"

namespace occam::bench {

namespace {

using nlohmann::json;

double wall_clock() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpu_clock() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

Precision precision_of(const Device& device, const std::string& name) {
  for (const Precision precision : precisions(device))
    if (name == name_of(precision)) return precision;
  fail(ErrorKind::usage, "precision: this build does not offer '{}' there", name);
}

}  // namespace

Stopwatch::Stopwatch() : wall_(wall_clock()), cpu_(cpu_clock()) {}

void Stopwatch::report(json& reply) const {
  reply.update({{"seconds", wall_clock() - wall_}, {"cpu_seconds", cpu_clock() - cpu_}});
}

Device device_of(const json& request) {
  const std::string device = request.value("device", "cpu");
  return select_device(device, request.value("threads", device == "cpu" ? 1 : 0));
}

std::vector<Precision> precisions(const Device& device) {
  if (device.kind == DeviceKind::cpu) return {Precision::fp32};
  return {Precision::fp32, Precision::tf32, Precision::bf16};
}

Problem::Problem(const json& request) {
  const std::string set = request.value("set", "lms5");
  require(set == "lms5" || set == "ms57", "set: '{}' is not known (use lms5 or ms57)", set);
  spec = set == "lms5" ? lms(5) : ms(5, 7);
  spec.train = request.value("train", std::int64_t{100'000});
  spec.test = request.value("test", std::int64_t{set == "lms5" ? 10'000 : 50'000});
  network.inputs = spec.dim();
  network.hidden = request.value("hidden", std::vector<int>{100, 100});
  const std::string optimizer = request.value("optimizer", "sgd");
  require(optimizer == "sgd" || optimizer == "adam", "optimizer: '{}' is not known (use sgd or adam)", optimizer);
  if (optimizer == "adam") training.optimizer.kind = OptimizerKind::adam;
  training.optimizer.momentum = request.value("momentum", 0.0);
  training.optimizer.weight_decay = request.value("weight_decay", 5e-5);
  training.batch = request.value("batch", 256);
  training.stop.patience = set == "lms5" ? 1 : 1000;
  if (request.contains("max_updates")) {
    training.stop.criterion = StopCriterion::none;
    training.stop.max_updates = request["max_updates"];
    training.stop.check_every = training.stop.max_updates + 1;
  }
  members = request.value("members", 1);
  first_seed = request.value("seed", std::uint32_t{0});
  device = device_of(request);
  training.precision = precision_of(device, request.value("precision", "fp32"));
}

std::vector<Seeds> Problem::seeds() const {
  std::vector<Seeds> all;
  for (std::uint32_t m = 0; m < static_cast<std::uint32_t>(members); ++m)
    all.push_back({first_seed + m, first_seed + m, first_seed + m});
  return all;
}

std::vector<Data> Problem::data() const {
  std::vector<std::uint32_t> data_seeds;
  for (const Seeds& of_member : seeds()) data_seeds.push_back(of_member.data);
  return slab_data(spec, data_seeds);
}

std::vector<Training> Problem::trainings() const {
  return std::vector<Training>(static_cast<std::size_t>(members), training);
}

}  // namespace occam::bench
