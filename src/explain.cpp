#include "explain.hpp"

#include <fmt/format.h>

#include "cpu/engine.hpp"
#include "cuda/plan.hpp"
#if OCCAM_HAS_CUDA
#include "cuda/runtime.hpp"
#endif

namespace occam {

namespace {

// What a plan needs to know of a GPU.
struct Chip {
  std::string name;
  std::size_t shared_per_block;  // bytes
  int multiprocessors;
  double cycles_per_second;
};

// 128 fused multiply-adds a cycle and multiprocessor (compute capability 8.6 and 9.0).
constexpr double kFlopPerCycle = 2 * 128;

const Chip kH200{"H200 by its data sheet", 227 * 1024, 132, 1.98e9};

double kib(double floats) { return floats * sizeof(float) / 1024; }

std::string explain_cuda(const Chip& chip, const MlpSpec& spec, const Training& training,
                         std::optional<double> lit_share, const std::string& measured) {
  const cuda::TrainingNeeds needs(spec, {&training, 1}, lit_share.has_value());
  const cuda::PlanAnswer answer = cuda::plan_resident(spec, training.batch, needs, chip.shared_per_block);
  const double floor =
      flop_per_update(spec, training.batch, lit_share.value_or(1)) / (kFlopPerCycle * chip.cycles_per_second);
  std::string text = fmt::format("  cuda, {}: {} KiB of shared memory a block, {} multiprocessors\n",
                                 chip.name, chip.shared_per_block / 1024, chip.multiprocessors);
  if (training.precision != Precision::fp32) {
    const cuda::TensorAnswer tensor =
        cuda::plan_tensor(spec, training.batch, needs, training.precision, chip.shared_per_block);
    if (!tensor.plan)
      return text + fmt::format("    no plan for {}: {}\n", name_of(training.precision), tensor.obstacle);
    return text + fmt::format(
                      "    plan resident on tensor cores, {}: a block of {} threads owns a member; slices "
                      "of {} samples\n    shared memory {:.1f} KiB; gradients {}\n",
                      name_of(training.precision), cuda::kTensorThreads, tensor.plan->slice,
                      tensor.plan->bytes / 1024.0, tensor.plan->gradients >= 0 ? "there, too" : "in L2");
  }
  if (answer.resident) {
    const cuda::ResidentPlan& plan = *answer.resident;
    const int parameters = plan.gradients - plan.parameters;
    text += fmt::format(
        "    plan resident: a block of {} threads owns a member; {} slice{} of {} samples an update\n"
        "    shared memory {:.1f} KiB: parameters {:.1f}, gradients {:.1f}, rows and activations {:.1f}\n",
        cuda::kResidentThreads, (plan.batch + plan.slice - 1) / plan.slice,
        plan.batch > plan.slice ? "s" : "", plan.slice, plan.bytes / 1024.0, kib(parameters), kib(parameters),
        kib(plan.end_activations - plan.begin_activations));
    text += measured;
  } else {
    text += fmt::format("    plan tiled: one launch an operation for all members; not resident: {}\n",
                        answer.obstacle);
  }
  text += fmt::format(
      "    floor {:.2f} us an update on one multiprocessor, {:.3f} us on all: {:.0f} updates a second\n",
      floor * 1e6, floor * 1e6 / chip.multiprocessors, chip.multiprocessors / floor);
  if (needs.slots > 0)
    text += fmt::format("    optimiser state {} x {:.1f} KiB a member in device memory\n", needs.slots,
                        kib(static_cast<double>(cuda::DeviceLayout(spec).stride())));
  return text;
}

#if OCCAM_HAS_CUDA
std::string registers(const Device& device, const MlpSpec& spec, const Training& training,
                      std::size_t shared) {
  cuda::set_device(device.index);
  const auto plan = cuda::plan_resident(spec, training.batch, {spec, {&training, 1}}, shared).resident;
  if (!plan) return "";
  const cuda::KernelResources used = cuda::resident_resources(*plan);
  return fmt::format("    {} registers a thread, {} B spilled; {} block{} a multiprocessor\n", used.registers,
                     used.local_bytes, used.blocks, used.blocks == 1 ? "" : "s");
}
#endif

}  // namespace

double flop_per_update(const MlpSpec& spec, int batch, double lit_share) {
  double multiply_adds = 0;
  const ParameterLayout layout(spec);
  for (std::size_t l = 0; l < layout.layers.size(); ++l)
    multiply_adds +=
        static_cast<double>(layout.layers[l].fan_in) * layout.layers[l].fan_out * (l > 0 ? 3 : 2 * lit_share);
  return 2 * multiply_adds * batch;
}

std::string explain_plan(const Device& device, const MlpSpec& spec, const Training& training,
                         std::optional<double> lit_share) {
  std::string text =
      fmt::format("  {:.4g} MFLOP an update, {} parameters ({:.1f} KiB)\n",
                  flop_per_update(spec, training.batch, lit_share.value_or(1)) * 1e-6,
                  ParameterLayout(spec).total, kib(static_cast<double>(ParameterLayout(spec).total)));
  if (lit_share)
    text +=
        fmt::format("  images of shapes: the first layer goes through their lit pixels, {:.1f}% of them\n",
                    100 * *lit_share);
#if OCCAM_HAS_CUDA
  if (device.kind == DeviceKind::cuda) {
    const cuda::DeviceProperties gpu = cuda::device_properties(device.index);
    const Chip chip{gpu.name, gpu.shared_per_block, gpu.multiprocessors, gpu.cycles_per_second};
    return text + explain_cuda(chip, spec, training, lit_share,
                               lit_share ? "" : registers(device, spec, training, chip.shared_per_block));
  }
#endif
  text += fmt::format("  cpu: one member a thread, {} at a time, {} kernels; {}\n", device.threads,
                      cpu::instruction_set(),
                      lit_share ? "its weights pass through the cache once an update"
                                : "its rows and activations stay in its core's cache");
  return text + explain_cuda(kH200, spec, training, lit_share, "");
}

}  // namespace occam
