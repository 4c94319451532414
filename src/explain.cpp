#include "explain.hpp"

#include <algorithm>

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
  int capability;                // 90: compute capability 9.0
  std::size_t shared_per_block;  // bytes
  int multiprocessors;
  double cycles_per_second, bytes_per_second;  // bytes of device memory; 0: not known
};

// Operations a cycle and multiprocessor, of fused multiply-adds and of dense tensor cores with sums in fp32, by the data
// sheets of A100, H200, B200 and the GeForce RTX 30 to 50.
double flop_per_cycle(int capability, Precision precision) {
  if (precision == Precision::fp32) return capability == 80 ? 2 * 64 : 2 * 128;
  const double tf32 = capability == 80                        ? 1024
                      : capability >= 90 && capability < 100  ? 2048
                      : capability >= 100 && capability < 120 ? 4096
                                                              : 256;
  return precision == Precision::tf32 ? tf32 : 2 * tf32;
}

const Chip kH200{"H200 by its data sheet", 90, 227 * 1024, 132, 1.98e9, 4.8e12};
// Of one of its multiprocessors, beside what a block's plan asks for.
constexpr int kSharedOfMultiprocessor = 228 * 1024, kSharedOfBlock = 1024, kThreads = 2048,
              kRegisters = 65536;

// Without a GPU, what shared memory and threads allow; the compiler's registers are in docs/gpu.md.
std::string occupancy(int shared_bytes, int threads) {
  const int blocks = std::min(kSharedOfMultiprocessor / (shared_bytes + kSharedOfBlock), kThreads / threads);
  return fmt::format(
      "    {} block{} a multiprocessor by shared memory, if a thread takes at most {} registers\n", blocks,
      blocks == 1 ? "" : "s", std::min(255, kRegisters / (blocks * threads) / 8 * 8));
}

double kib(double floats) { return floats * sizeof(float) / 1024; }

// Parameters and state that training changes, in floats: an update reads and writes them once.
double changed_floats(const MlpSpec& spec, const cuda::TrainingNeeds& needs, const PixelShares& pixels) {
  const ParameterLayout layout(spec);
  const double first = static_cast<double>(layout.layers[0].fan_in) * layout.layers[0].fan_out;
  return (static_cast<double>(layout.total) - (1 - pixels.live) * first) * (1 + needs.slots);
}

std::string floor_of(const Chip& chip, const MlpSpec& spec, const Training& training, Precision precision,
                     const cuda::TrainingNeeds& needs, const PixelShares& pixels, bool through_memory) {
  const double one = (flop_per_update(spec, training.batch, pixels.lit) + flop_of_adversary(spec, training)) /
                     (flop_per_cycle(chip.capability, precision) * chip.cycles_per_second);
  const double operations = one / chip.multiprocessors;
  std::string text = fmt::format("    floor {:.2f} us an update on one multiprocessor, {:.3f} us on all",
                                 one * 1e6, operations * 1e6);
  double all = operations;
  if (through_memory && chip.bytes_per_second > 0) {
    const double bytes = 2 * sizeof(float) * changed_floats(spec, needs, pixels);
    all = std::max(operations, bytes / chip.bytes_per_second);
    text += fmt::format("; {:.2f} MB of parameters and state through memory, {:.3f} us", bytes * 1e-6,
                        bytes / chip.bytes_per_second * 1e6);
  }
  return text + fmt::format(": {:.0f} updates a second\n", 1 / all);
}

std::string explain_cuda(const Chip& chip, const MlpSpec& spec, const Training& training,
                         std::optional<PixelShares> images, const std::string& measured) {
  const cuda::TrainingNeeds needs(spec, {&training, 1}, images.has_value());
  const PixelShares pixels = images.value_or(PixelShares{});
  const cuda::DeviceLayout layout(spec);
  const bool tensor = training.precision != Precision::fp32;
  const Precision tiled = cuda::tiled_precision(layout, training.precision);
  const cuda::PlanAnswer fp32 = cuda::plan_resident(spec, training.batch, needs, chip.shared_per_block);
  const cuda::TensorAnswer on_cores =
      tensor ? cuda::plan_tensor(spec, training.batch, needs, chip.shared_per_block) : cuda::TensorAnswer{};
  std::string text = fmt::format("  cuda, {}: {} KiB of shared memory a block, {} multiprocessors\n",
                                 chip.name, chip.shared_per_block / 1024, chip.multiprocessors);
  if (tensor && needs.adversary)
    return text + fmt::format("    no plan for {}: {}\n", name_of(training.precision), on_cores.obstacle);
  if (on_cores.plan) {
    const cuda::TensorPlan& plan = *on_cores.plan;
    text += fmt::format(
        "    plan resident on tensor cores, {}: a block of {} threads owns a member; {}\n"
        "    shared memory {:.1f} KiB; gradients {}\n",
        name_of(training.precision), cuda::kTensorThreads,
        plan.selects() ? "its whole batch an update" : fmt::format("slices of {} samples", plan.slice),
        plan.bytes / 1024.0,
        plan.selects()        ? "in registers"
        : plan.gradients >= 0 ? "there, too"
                              : "in L2");
    text += measured.empty() ? occupancy(plan.bytes, cuda::kTensorThreads) : measured;
  } else if (!tensor && fp32.resident) {
    const cuda::ResidentPlan& plan = *fp32.resident;
    const double parameters = kib(static_cast<double>(layout.stride()));
    text += fmt::format(
        "    plan resident: a block of {} threads owns a member; {} an update\n"
        "    shared memory {:.1f} KiB: parameters {:.1f}, gradients {}, rows and activations {:.1f}\n",
        cuda::kResidentThreads,
        plan.body == cuda::ResidentBody::whole_batch
            ? "its whole batch"
            : fmt::format("{} slice{} of {} samples", (plan.batch + plan.slice - 1) / plan.slice,
                          plan.batch > plan.slice ? "s" : "", plan.slice),
        plan.bytes / 1024.0, parameters, plan.selects() ? "in registers" : fmt::format("{:.1f}", parameters),
        kib(plan.end_activations - plan.begin_activations));
    text += measured.empty() ? occupancy(plan.bytes, cuda::kResidentThreads) : measured;
  } else {
    text +=
        fmt::format("    plan tiled{}: {} for all members; not resident: {}\n",
                    !tensor                    ? ""
                    : tiled == Precision::fp32 ? " in fp32, which is faster here"
                                               : fmt::format(" on tensor cores, {}", name_of(tiled)),
                    cuda::takes_one_hidden(layout, needs) ? "two launches an update of both layers"
                    : cuda::takes_sample_pass(layout, needs, training.batch, chip.shared_per_block)
                        ? "two launches an update, samples through all layers and the weights of all layers,"
                        : "one launch an operation",
                    tensor ? on_cores.obstacle : fp32.obstacle);
  }
  const bool resident = tensor ? on_cores.plan.has_value() : fp32.resident.has_value();
  text += floor_of(chip, spec, training, resident ? training.precision : tiled, needs, pixels, !resident);
  if (needs.slots > 0)
    text += fmt::format("    optimiser state {} x {:.1f} KiB a member in device memory\n", needs.slots,
                        kib(static_cast<double>(layout.stride())));
  return text;
}

#if OCCAM_HAS_CUDA
std::string registers(const Device& device, const MlpSpec& spec, const Training& training,
                      std::size_t shared) {
  cuda::set_device(device.index);
  const cuda::TrainingNeeds needs{spec, {&training, 1}};
  cuda::KernelResources used;
  if (training.precision == Precision::fp32) {
    const auto plan = cuda::plan_resident(spec, training.batch, needs, shared).resident;
    if (!plan) return "";
    used = cuda::resident_resources(*plan, needs.slots > 0);
  } else {
    const auto plan = cuda::plan_tensor(spec, training.batch, needs, shared).plan;
    if (!plan) return "";
    used = cuda::resident_tensor_resources(*plan, needs.slots > 0);
  }
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

double flop_of_adversary(const MlpSpec& spec, const Training& training) {
  if (!training.adversary || training.adversary->epsilon == 0) return 0;
  double weights = 0;
  const ParameterLayout layout(spec);
  for (const ParameterLayout::Layer& layer : layout.layers)
    weights += static_cast<double>(layer.fan_in) * layer.fan_out;
  return 4 * weights * training.batch * training.adversary->iterations * training.adversary->restarts;
}

std::string plan_of(const Device& device, const MlpSpec& spec, const Training& training, bool images) {
  if (device.kind == DeviceKind::cpu) return fmt::format("cpu, {}", cpu::instruction_set());
  std::size_t shared = 0;
#if OCCAM_HAS_CUDA
  shared = cuda::device_properties(device.index).shared_per_block;
#endif
  const cuda::TrainingNeeds needs(spec, {&training, 1}, images);
  const auto resident = [](const auto& plan, bool whole_batch) {
    return whole_batch ? std::string("cuda, resident, whole batch")
                       : fmt::format("cuda, resident, slices of {}", plan.slice);
  };
  if (training.precision != Precision::fp32) {
    const auto plan = cuda::plan_tensor(spec, training.batch, needs, shared).plan;
    if (plan) return resident(*plan, plan->selects()) + " on tensor cores";
    if (cuda::tiled_precision(cuda::DeviceLayout(spec), training.precision) != Precision::fp32)
      return "cuda, tiled on tensor cores";
  }
  if (const auto plan = cuda::plan_resident(spec, training.batch, needs, shared).resident) {
    return resident(*plan, plan->body == cuda::ResidentBody::whole_batch);
  }
  return "cuda, tiled";
}

std::string explain_plan(const Device& device, const MlpSpec& spec, const Training& training,
                         std::optional<PixelShares> images) {
  const double adversary = flop_of_adversary(spec, training);
  std::string text =
      fmt::format("  {:.4g} MFLOP an update{}, {} parameters ({:.1f} KiB)\n",
                  (flop_per_update(spec, training.batch, images ? images->lit : 1) + adversary) * 1e-6,
                  adversary > 0 ? fmt::format(", of which the adversary's {:.4g}", adversary * 1e-6) : "",
                  ParameterLayout(spec).total, kib(static_cast<double>(ParameterLayout(spec).total)));
  if (images)
    text += fmt::format(
        "  images of shapes: the first layer goes through their lit pixels, {:.1f}% of them; training "
        "changes "
        "the weights of {:.1f}%\n",
        100 * images->lit, 100 * images->live);
#if OCCAM_HAS_CUDA
  if (device.kind == DeviceKind::cuda) {
    const cuda::DeviceProperties gpu = cuda::device_properties(device.index);
    const Chip chip{gpu.name,
                    10 * gpu.major + gpu.minor,
                    gpu.shared_per_block,
                    gpu.multiprocessors,
                    gpu.cycles_per_second,
                    gpu.bytes_per_second};
    return text + explain_cuda(chip, spec, training, images,
                               images ? "" : registers(device, spec, training, chip.shared_per_block));
  }
#endif
  if (training.precision != Precision::fp32)
    text += "  cpu: trains in fp32 alone\n";
  else
    text += fmt::format("  cpu: one member a thread, {} at a time, {} kernels; {}\n", device.threads,
                        cpu::instruction_set(),
                        images ? "its weights pass through the cache once an update"
                               : "its rows and activations stay in its core's cache");
  return text + explain_cuda(kH200, spec, training, images, "");
}

}  // namespace occam
