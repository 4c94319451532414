// Occam's side of tools/bench: answers one JSON request a line on stdin with one JSON line on stdout, so that
// the bench can take turns between this process and its rivals. docs/performance.md has the protocol.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "backend.hpp"
#include "cpu/engine.hpp"
#include "io/npz.hpp"
#include "occam/error.hpp"
#include "occam/training.hpp"
#include "occam_build_info.hpp"
#include "peaks.hpp"

namespace occam::bench {

namespace {

using nlohmann::json;

// Wall and CPU time since it was made. CPU time far below wall time times threads: somebody else had the
// core.
class Stopwatch {
 public:
  double seconds() const { return wall() - wall_; }
  void report(json& reply) const { reply.update({{"seconds", seconds()}, {"cpu_seconds", cpu() - cpu_}}); }

 private:
  static double wall() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
  static double cpu() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  double wall_ = wall(), cpu_ = cpu();
};

// Bytes of this process that lie in memory, after free lists are given back.
std::int64_t resident_bytes() {
  malloc_trim(0);
  std::int64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// What training offers on a device; the bench says of the others that this build lacks them.
std::vector<Precision> precisions(const Device& device) {
  if (device.kind == DeviceKind::cpu) return {Precision::fp32};
  return {Precision::fp32, Precision::tf32, Precision::bf16};
}

Precision precision_of(const Device& device, const std::string& name) {
  for (const Precision precision : precisions(device))
    if (name == name_of(precision)) return precision;
  fail(ErrorKind::usage, "precision: this build does not offer '{}' there", name);
}

// The training problem of a request: notebook 1's data, network and settings unless the request says
// otherwise.
struct Problem {
  SlabSpec spec;
  MlpSpec network;
  Training training;
  int members = 1;
  Device device;

  explicit Problem(const json& request) {
    const std::string set = request.value("set", "lms5");
    require(set == "lms5" || set == "ms57", "set: '{}' is not known (use lms5 or ms57)", set);
    spec = set == "lms5" ? lms(5) : ms(5, 7);
    spec.train = request.value("train", std::int64_t{100'000});
    spec.test = request.value("test", std::int64_t{set == "lms5" ? 10'000 : 50'000});
    network.inputs = spec.dim();
    network.hidden = request.value("hidden", std::vector<int>{100, 100});
    training.optimizer.weight_decay = 5e-5;
    training.batch = request.value("batch", 256);
    training.stop.patience = set == "lms5" ? 1 : 1000;
    if (request.contains("max_updates")) {
      training.stop.criterion = StopCriterion::none;
      training.stop.max_updates = request["max_updates"];
      training.stop.check_every = training.stop.max_updates + 1;
    }
    members = request.value("members", 1);
    device = select_device(request.value("device", "cpu"), request.value("threads", 1));
    training.precision = precision_of(device, request.value("precision", "fp32"));
  }

  std::vector<Seeds> seeds() const {
    std::vector<Seeds> all;
    for (std::uint32_t m = 0; m < static_cast<std::uint32_t>(members); ++m) all.push_back({m, m, m});
    return all;
  }
  std::vector<Data> data() const {
    std::vector<std::uint32_t> data_seeds;
    for (const Seeds& of_member : seeds()) data_seeds.push_back(of_member.data);
    return slab_data(spec, data_seeds);
  }
  std::vector<Training> trainings() const {
    return std::vector<Training>(static_cast<std::size_t>(members), training);
  }
};

// Members that are resident together, so that stretches of training can be timed alone.
struct Resident {
  Problem problem;
  MlpEnsemble models;
  std::vector<Data> data;
  std::vector<Seeds> seeds;
  std::vector<Training> trainings;
  std::unique_ptr<Wave> wave;

  explicit Resident(const json& request)
      : problem(request), models(problem.network, problem.seeds(), problem.device), data(problem.data()),
        seeds(problem.seeds()), trainings(problem.trainings()) {
    const WaveRequest wanted{&models.spec(), data, seeds, trainings};
    Backend& device = backend(problem.device);
    if (problem.device.kind == DeviceKind::cuda) {
      const int fit = device.wave_members(wanted);
      require(fit >= problem.members, "open: {} members do not fit into the device's memory together, {} do",
              problem.members, fit);
    }
    wave = device.open(wanted);
    for (int m = 0; m < problem.members; ++m) wave->load(m, models.last(m));
  }
  void train(std::int64_t updates) {
    const std::vector<std::int64_t> each(seeds.size(), updates);
    wave->train(each);
    wave->store(0, models.last(0));  // waits for the device
  }
  // What fit does at a check: accuracy and loss on both splits.
  std::vector<WaveScore> score(Split split) {
    std::vector<int> all(seeds.size());
    std::iota(all.begin(), all.end(), 0);
    std::vector<WaveScore> scores(seeds.size());
    wave->score(all, split, {}, false, scores);
    return scores;
  }
};

json info(const json& request) {
  const Device device = select_device(request.value("device", "cpu"), 1);
  json libraries, offered;
  for (const Precision precision : precisions(device)) offered.push_back(name_of(precision));
  for (const build_info::Library& library : build_info::libraries) libraries[library.name] = library.version;
  return {{"name", "Occam"},
          {"device", describe(device)},
          {"precisions", offered},
          {"instruction_set", cpu::instruction_set()},
          {"has_avx512", has_avx512()},
          {"openblas_core", openblas_core()},
          {"openblas_config", openblas_config()},
          {"version", build_info::version},
          {"commit", build_info::commit},
          {"dirty", build_info::dirty},
          {"compiler", build_info::compiler},
          {"build_type", build_info::build_type},
          {"flags", build_info::flags},
          {"libraries", libraries}};
}

// GFLOP/s of the calls, by wall and by CPU time.
json sgemm(const json& request) {
  json reply;
  for (const Timed& call : time_sgemm(request.value("calls", 3))) {
    reply["gflops"].push_back(kSgemmFlop / call.seconds * 1e-9);
    reply["cpu_gflops"].push_back(kSgemmFlop / call.cpu_seconds * 1e-9);
  }
  return reply;
}

json fma() {
  return {{"avx2", fma_rate_avx2()}, {"avx512", has_avx512() ? json(fma_rate_avx512()) : json(nullptr)}};
}

json ceilings() {
  const CudaCeilings found = cuda_ceilings(select_device("cuda").index);
  return {{"multiprocessors", found.multiprocessors},
          {"ffma_gflops", found.ffma_gflops},
          {"tf32_gflops", found.tf32_gflops},
          {"bf16_gflops", found.bf16_gflops},
          {"copy_gbs", found.copy_gbs},
          {"shared_gbs", found.shared_gbs}};
}

// Writes the member's training and test rows as a model sees them, for the rivals.
json export_data(const json& request) {
  const Problem problem(request);
  const Data data = problem.data().front();
  NpzWriter file(request.at("path"), NpzWriter::Compression::store);
  for (const auto& [split, name] : {std::pair{Split::train, "train"}, {Split::test, "test"}}) {
    const HostTable table = materialize(data, split);
    file.add(fmt::format("x_{}", name), table.x, {table.rows, table.dim});
    file.add(fmt::format("y_{}", name), table.y, {table.rows});
  }
  file.close();
  return json::object();
}

// A whole training by the public API: data, updates, checks. With max_updates: exactly that many, one check
// at the end.
json whole_fit(const json& request) {
  const Problem problem(request);
  MlpEnsemble models(problem.network, problem.seeds(), problem.device);
  const std::vector<Data> data = problem.data();
  const std::vector<Training> trainings = problem.trainings();
  json reply{{"parameter_bytes", models.layout().total * static_cast<std::int64_t>(sizeof(float))}};
  FitOptions options;
  options.test_at_checks = !request.contains("max_updates");
  const Stopwatch watch;
  const History history = fit(models, data, trainings, options);
  watch.report(reply);
  for (const MemberHistory& member : history) {
    reply["updates"].push_back(member.updates);
    reply["status"].push_back(member.status == FitStatus::converged ? "converged"
                              : member.status == FitStatus::limit   ? "limit"
                                                                    : "diverged");
    reply["checks"].push_back(member.checks.size());
    reply["train_accuracy"].push_back(member.checks.back().train_accuracy);
    reply["test_accuracy"].push_back(member.checks.back().test_accuracy);
  }
  return reply;
}

class Worker {
 public:
  json answer(const json& request) {
    const std::string operation = request.at("op");
    if (operation == "info") return info(request);
    if (operation == "sgemm") return sgemm(request);
    if (operation == "fma") return fma();
    if (operation == "cuda_sgemm") return {{"gflops", cuda_sgemm_rate(select_device("cuda").index)}};
    if (operation == "ceilings") return ceilings();
    if (operation == "export") return export_data(request);
    if (operation == "fit") return whole_fit(request);
    if (operation == "open") return open(request);
    if (operation == "run") return run(request);
    if (operation == "check") return check();
    fail(ErrorKind::usage, "op: '{}' is not known", operation);
  }

 private:
  // Makes members resident: their training rows, with one update; then, for the memory, their test rows too.
  json open(const json& request) {
    resident_.reset();
    const std::int64_t before = resident_bytes();
    const Stopwatch watch;
    resident_ = std::make_unique<Resident>(request);
    resident_->train(1);
    json reply{{"variant", cpu::instruction_set()}};
    watch.report(reply);
    resident_->score(Split::train);
    resident_->score(Split::test);
    reply["resident_bytes"] = resident_bytes() - before;
    return reply;
  }

  // "updates" are those of all members together.
  json run(const json& request) {
    require(resident_ != nullptr, "run: nothing is open");
    const Training& training = resident_->problem.training;
    const std::int64_t batches = (resident_->problem.spec.train + training.batch - 1) / training.batch;
    const std::int64_t updates = batches * request.value("epochs", std::int64_t{1});
    json reply{{"updates", updates * resident_->problem.members}};
    const Stopwatch watch;
    resident_->train(updates);
    watch.report(reply);
    return reply;
  }

  // One check of all members, on the training and the test set.
  json check() {
    require(resident_ != nullptr, "check: nothing is open");
    json reply;
    const Stopwatch watch;
    const std::vector<WaveScore> train = resident_->score(Split::train), test = resident_->score(Split::test);
    watch.report(reply);
    for (const WaveScore& score : train) reply["train_loss"].push_back(score.loss);
    reply["test_rows"] = resident_->problem.spec.test;
    for (const WaveScore& score : test) reply["test_correct"].push_back(score.correct);
    return reply;
  }

  std::unique_ptr<Resident> resident_;
};

}  // namespace

}  // namespace occam::bench

int main() {
  occam::bench::Worker worker;
  for (std::string line; std::getline(std::cin, line);) {
    nlohmann::json reply;
    try {
      reply = worker.answer(nlohmann::json::parse(line));
    } catch (const occam::Error& error) {
      reply = {{"error", error.what()}, {"exit_code", error.exit_code()}};
    } catch (const std::exception& error) {
      reply = {{"error", error.what()}, {"exit_code", 1}};
    }
    std::cout << reply.dump() << std::endl;
  }
}
