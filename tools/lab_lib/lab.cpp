// lab_runner: trains members with the resident kernel and with every variant of it, compares their parameters
// bit by bit, and times them. Prints one JSON object. On a GPU, or, built for the SIMT executor, on the CPU,
// where seconds mean nothing.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cuda/layout.hpp"
#include "cuda/plan.hpp"
#include "cuda/runtime.hpp"
#include "law/optimizer.hpp"
#include "one_hidden_chip.hpp"
#include "variants.hpp"

namespace occam::lab {

namespace {

using namespace occam::cuda;
using nlohmann::json;

struct Options {
  std::vector<int> net{100, 100};
  int inputs = 50, classes = 2, batch = 256, members = 132, repeats = 5;
  std::int64_t rows = 100'000, updates = 391;
  std::vector<int> only;  // variants; empty: all
};

// Where things lie for slices of a variant's size: plan resident without what SGD and ReLU do not need, and
// with gradients only where they are kept in shared memory.
ResidentPlan place(const DeviceLayout& layout, const Options& options, int slice, bool gradients) {
  ResidentPlan plan{};
  plan.slice = slice, plan.batch = options.batch, plan.inputs = options.inputs;
  plan.x_stride = padded(options.inputs);
  int used = 0;
  const auto take = [&](std::int64_t floats) {
    const int at = used;
    used += static_cast<int>((floats + kQuad - 1) / kQuad * kQuad);
    return at;
  };
  plan.parameters = take(layout.stride());
  plan.gradients = gradients ? take(layout.stride()) : 0;
  plan.begin_activations = used;
  for (int& x : plan.x) x = take(static_cast<std::int64_t>(slice) * plan.x_stride + kReadBeyond);
  for (const LayerView& view : layout.layers()) {
    ResidentLayer& layer = plan.layer[plan.layers++];
    layer.view = view;
    layer.kept = layer.output = take(static_cast<std::int64_t>(slice) * view.out_stride);
    layer.slope_gradient = -1;
  }
  take(kReadBeyond);
  plan.end_activations = used;
  plan.rows = take(2 * options.batch), plan.labels = take(2 * options.batch), plan.adam = take(2);
  plan.bytes = used * static_cast<int>(sizeof(float));
  return plan;
}

float uniform(std::uint32_t seed, std::uint32_t element) {
  std::uint32_t bits = seed * 0x9e3779b9u + element * 0x85ebca6bu;
  bits ^= bits >> 16, bits *= 0x7feb352du, bits ^= bits >> 15, bits *= 0x846ca68bu, bits ^= bits >> 16;
  return static_cast<float>(bits >> 8) * 0x1p-24f * 2.0f - 1.0f;
}

// Members with data and initial parameters of their own, on the device.
class Problem {
 public:
  Problem(const Options& options, const MlpSpec& spec)
      : options_(options), layout_(spec), stride_(padded(options.inputs)),
        x_("rows", size(options.members) * size(options.rows) * size(stride_)),
        y_("labels", size(options.rows)), members_("members", size(options.members)),
        progress_("progress", size(options.members)),
        parameters_("parameters", size(options.members) * size(layout_.stride())),
        initial_(size(options.members) * size(layout_.stride())) {
    std::vector<float> rows(size(options.rows) * size(stride_), kPadding);
    std::vector<std::int32_t> labels(size(options.rows));
    std::vector<Member> members(size(options.members));
    for (int m = 0; m < options.members; ++m) {
      for (std::int64_t r = 0; r < options.rows; ++r) {
        float sum = 0.0f;
        for (int k = 0; k < options.inputs; ++k) {
          const auto element = static_cast<std::uint32_t>(r * options.inputs + k);
          sum += rows[size(r * stride_ + k)] = uniform(static_cast<std::uint32_t>(m % 8), element);
        }
        if (m == 0) labels[size(r)] = sum > 0.0f;
      }
      float* const to = x_.data() + static_cast<std::ptrdiff_t>(m) * options.rows * stride_;
      copy_to_device(stream, to, rows.data(), rows.size());
      members[size(m)].train_x = to, members[size(m)].train_y = y_.data();
      members[size(m)].rows[static_cast<int>(Split::train)] = options.rows;
      members[size(m)].order_seed = static_cast<std::uint32_t>(m);
      Training training;
      training.optimizer.weight_decay = 5e-5;
      members[size(m)].optimizer = law::optimizer_constants(training.optimizer);
      for (const LayerView& layer : layout_.layers())
        for (int j = 0; j < layer.out; ++j)
          for (int k = 0; k < layer.in; ++k) {
            const std::int64_t at = layer.weight + j * layer.in_stride + k;
            initial_[size(m * layout_.stride() + at)] =
                uniform(77u + static_cast<std::uint32_t>(m), static_cast<std::uint32_t>(at)) /
                std::sqrt(static_cast<float>(layer.in));
          }
    }
    copy_to_device(stream, y_, std::span<const std::int32_t>(labels));
    copy_to_device(stream, members_, std::span<const Member>(members));
    const std::vector<Progress> progress(size(options.members), Progress{0, options.updates, {}});
    copy_to_device(stream, progress_, std::span<const Progress>(progress));
    stream.synchronize();
  }

  const DeviceLayout& layout() const { return layout_; }

  // Parameters after options.updates updates from the initial ones, and the milliseconds of it.
  template <class Launch>
  std::pair<std::vector<float>, float> train(const ResidentPlan& plan, const Launch& launch) {
    copy_to_device(stream, parameters_, std::span<const float>(initial_));
    const WaveView wave{members_.data(), progress_.data(), parameters_.data(),
                        nullptr,         nullptr,          layout_.stride()};
    Event begin, end;
    begin.record(stream);
    launch(stream,
           ResidentArguments{wave, options_.members, Loss::cross_entropy, ResidentBody::slices, plan});
    end.record(stream);
    stream.synchronize();
    std::vector<float> trained(initial_.size());
    copy_to_host(stream, std::span<float>(trained), parameters_);
    return {std::move(trained), end.milliseconds_since(begin)};
  }

  const std::vector<float>& initial() const { return initial_; }

 private:
  static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

  Options options_;
  DeviceLayout layout_;
  std::int64_t stride_;
  cuda::Stream stream;
  DeviceBuffer<float> x_;
  DeviceBuffer<std::int32_t> y_;
  DeviceBuffer<Member> members_;
  DeviceBuffer<Progress> progress_;
  DeviceBuffer<float> parameters_;
  std::vector<float> initial_;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

json run(const Options& options) {
  const DeviceProperties device = device_properties(0);
  set_device(0);
  MlpSpec spec;
  spec.inputs = options.inputs, spec.hidden = options.net, spec.classes = options.classes;
  Training training;
  const std::vector<Training> trainings{training};
  const PlanAnswer answer =
      plan_resident(spec, options.batch, TrainingNeeds(spec, trainings), device.shared_per_block);
  require(answer.resident.has_value(), "no resident plan for this network: {}", answer.obstacle);
  Problem problem(options, spec);

  json report{{"device", device.name},      {"multiprocessors", device.multiprocessors},
              {"net", options.net},         {"members", options.members},
              {"updates", options.updates}, {"rows", options.rows}};
  const double all = static_cast<double>(options.members) * static_cast<double>(options.updates);
  std::vector<float> reference;
  const auto measure = [&](int number, const std::string& name, const ResidentPlan& plan,
                           const auto& launch) {
    json row{{"number", number}, {"name", name}, {"slice", plan.slice}, {"shared_bytes", plan.bytes}};
    std::vector<float> milliseconds;
    for (int repeat = 0; repeat < options.repeats; ++repeat) {
      auto [trained, ms] = problem.train(plan, launch);
      milliseconds.push_back(ms);
      if (repeat > 0) continue;
      if (reference.empty()) reference = trained;
      row["same_bits"] = same_bits(trained, reference);
      row["changed"] = !same_bits(trained, problem.initial());
    }
    const float best = *std::min_element(milliseconds.begin(), milliseconds.end());
    row["milliseconds"] = milliseconds;
    row["updates_per_second"] = best > 0 ? all / (best * 1e-3) : 0.0;
    return row;
  };
  const auto add_resources = [](json& row, const std::string& instance, const KernelResources& resources) {
    row["instance"] = instance;
    row["registers"] = resources.registers, row["local_bytes"] = resources.local_bytes;
    row["blocks"] = resources.blocks;
  };
  // The kernel's source, and its template arguments; those of optimisers with state stand aside.
  const auto [source, instance] = [&]() -> std::pair<std::string, std::string> {
    const ResidentPlan& plan = *answer.resident;
    const auto units = [&](auto sizes) { return decltype(sizes)::kPerN; };
    switch (plan.body) {
      case ResidentBody::whole_batch: return {"kernels/whole_batch.cu", "0"};
      case ResidentBody::one_hidden:
        return {"kernels/one_hidden_chip.cu",
                fmt::format("{}x0", with_one_hidden_chip(plan.layer[0].view.out, units))};
      default: return {"kernels/resident.cu", std::to_string(plan.slice)};
    }
  }();
  json own = measure(0, source, *answer.resident,
                     [](cuda::Stream& stream, const ResidentArguments& a) { launch_resident(stream, a); });
  add_resources(own, instance, resident_resources(*answer.resident, false));
  report["variants"].push_back(own);
  for (const Variant& variant : variants()) {
    if (!options.only.empty() &&
        std::find(options.only.begin(), options.only.end(), variant.number) == options.only.end())
      continue;
    const ResidentPlan plan = place(problem.layout(), options, variant.slice, !variant.holds_gradients);
    std::string why =
        obstacle(variant, {{}, options.members, Loss::cross_entropy, ResidentBody::slices, plan});
    if (static_cast<std::size_t>(plan.bytes) > device.shared_per_block)
      why = fmt::format("it needs {} bytes of shared memory, a block has {}", plan.bytes,
                        device.shared_per_block);
    if (!why.empty()) {
      report["variants"].push_back({{"number", variant.number},
                                    {"name", variant.name},
                                    {"instance", variant.instance},
                                    {"obstacle", why}});
      continue;
    }
    json row = measure(variant.number, variant.name, plan, variant.launch);
    row["threads"] = variant.threads, row["unroll"] = variant.unroll;
    add_resources(row, variant.instance,
                  kernel_resources(variant.kernel, variant.name, variant.threads,
                                   static_cast<std::size_t>(plan.bytes)));
    report["variants"].push_back(row);
  }
  return report;
}

}  // namespace

}  // namespace occam::lab

int main(int argc, char** argv) {
  occam::lab::Options options;
  CLI::App app{"Compares variants of the resident kernel, bit by bit and in time.", "lab_runner"};
  app.add_option("--net", options.net, "hidden layers")->delimiter(',');
  app.add_option("--inputs", options.inputs)->check(CLI::Range(1, 4096));
  app.add_option("--classes", options.classes)->check(CLI::Range(2, 256));
  app.add_option("--batch", options.batch)->check(CLI::Range(1, 65536));
  app.add_option("--members", options.members)->check(CLI::Range(1, 65535));
  app.add_option("--rows", options.rows)->check(CLI::Range(1, 10'000'000));
  app.add_option("--updates", options.updates)->check(CLI::Range(1, 10'000'000));
  app.add_option("--repeats", options.repeats)->check(CLI::Range(1, 100));
  app.add_option("--variants", options.only, "numbers of the variants to run; all without it")
      ->delimiter(',');
  CLI11_PARSE(app, argc, argv);
  try {
    const nlohmann::json report = occam::lab::run(options);
    std::cout << report.dump() << '\n';
    for (const nlohmann::json& row : report["variants"])
      if (row.contains("same_bits") && (!row["same_bits"].get<bool>() || !row["changed"].get<bool>()))
        return 1;
    return 0;
  } catch (const occam::Error& error) {
    std::cerr << "lab_runner: " << error.what() << '\n';
    return error.exit_code();
  }
}
