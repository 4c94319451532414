// Occam's side of tools/bench: answers one JSON request a line on stdin with one JSON line on stdout, so that
// the bench can take turns between this process and its rivals. docs/performance.md has the protocol.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "attacks.hpp"
#include "backend.hpp"
#include "cpu/engine.hpp"
#include "images.hpp"
#include "io/npz.hpp"
#include "occam/error.hpp"
#include "occam/training.hpp"
#include "occam_build_info.hpp"
#include "peaks.hpp"
#include "problem.hpp"

namespace occam::bench {

namespace {

using nlohmann::json;

// Bytes of this process that lie in memory, after free lists are given back.
std::int64_t resident_bytes() {
  malloc_trim(0);
  std::int64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

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
    wave->score(all, split, Randomization{}, false, scores);
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
          {"outer_gflops", found.outer_gflops},
          {"outer_same_bank_gflops", found.outer_same_bank_gflops},
          {"tf32_gflops", found.tf32_gflops},
          {"bf16_gflops", found.bf16_gflops},
          {"copy_gbs", found.copy_gbs},
          {"shared_gbs", found.shared_gbs}};
}

// What cuBLAS takes for the products of one update of all members, and for each.
json cuda_products(const json& request) {
  const std::vector<int> widths = request.at("widths");
  const int batch = request.at("batch"), members = request.at("members");
  require(widths.size() >= 2, "widths: inputs and outputs are needed, {} given", widths.size());
  constexpr int kMost = 1 << 20;  // three of them multiplied, as bytes of floats, fit into 64 bits
  std::vector<int> sizes = widths;
  sizes.insert(sizes.end(), {batch, members});
  for (const int size : sizes)
    require(size >= 1 && size <= kMost, "widths, batch, members: {} is not within [1, {}]", size, kMost);
  json products;
  double seconds = 0;
  for (const ProductTime& time : cuda_product_seconds(select_device("cuda").index, widths, batch, members)) {
    products.push_back({{"layer", time.layer}, {"product", time.product}, {"seconds", time.seconds}});
    seconds += time.seconds;
  }
  return {{"seconds", seconds}, {"products", products}};
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
    if (operation == "cublas")
      return {{"version", cublas_version(request.value("libraries", std::vector<std::string>{}))}};
    if (operation == "cuda_sgemm") return {{"gflops", cuda_sgemm_rate(select_device("cuda").index)}};
    if (operation == "cuda_products") return cuda_products(request);
    if (operation == "ceilings") return ceilings();
    if (operation == "export") return export_data(request);
    if (operation == "fit") return whole_fit(request);
    if (operation == "fit_images") return fit_images(request);
    if (operation == "export_images") return export_images(request);
    if (operation == "open") return open(request);
    if (operation == "run") return run(request);
    if (operation == "check") return check();
    if (operation == "attack_open") return attack_open(request);
    if (operation == "attack") return attack(request);
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

  // Trains what the attacks then move; with "path", writes member 0 there for the rivals.
  json attack_open(const json& request) {
    attacked_.reset();
    attacked_ = std::make_unique<Attacked>(request);
    if (request.contains("path")) attacked_->write(request["path"]);
    return attacked_->describe();
  }

  json attack(const json& request) {
    require(attacked_ != nullptr, "attack: nothing is open");
    return attacked_->run(request);
  }

  std::unique_ptr<Resident> resident_;
  std::unique_ptr<Attacked> attacked_;
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
