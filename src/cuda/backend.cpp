#include "cuda/backend.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "cuda/devices.hpp"
#include "cuda/scorer.hpp"
#include "cuda/wave.hpp"

namespace occam::cuda {

namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

// Scratch of one call of the scorer, or of the attacker. Their buffers grow from call to call, and the largest of each
// add up to less than twice as much.
std::int64_t score_budget(std::int64_t available) {
  return std::clamp(available / 16, std::int64_t{1}, 1024 * kMiB);
}

// What a wave leaves free for it; one member is scored at least, whatever its rows take.
std::int64_t scratch_room(const WaveRequest& request, std::int64_t available) {
  std::int64_t most = 1;
  for (const Data& data : request.data)
    for (const Split split : {Split::train, Split::validation, Split::test})
      most = std::max(most, rows(data, split));
  return 2 * score_budget(available) + Scorer::least_bytes(*request.spec, most);
}

// An array of more than 1 MiB takes whole pages.
std::int64_t allocated(std::int64_t bytes) { return bytes > kMiB ? round_up(bytes, 2 * kMiB) : bytes; }

double in_mib(std::int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(kMiB); }

struct MemberBytes {
  std::int64_t data = 0, parameters = 0, training = 0;
  std::int64_t total() const { return data + parameters + training; }
};

MemberBytes bytes_of(const WaveRequest& request, const Data& data, std::int64_t parameters,
                     std::int64_t training) {
  MemberBytes bytes{0, parameters, training};
  const std::int64_t stride = padded(request.spec->inputs);
  if (std::holds_alternative<SlabData>(data)) {
    bytes.data = request.spec->inputs * (static_cast<std::int64_t>(sizeof(law::SlabColumn)) + 4 * stride);
    if (!request.trainings.empty()) bytes.data += rows(data, Split::train) * 4 * (stride + 1);
  }
  if (const auto* shapes = std::get_if<ShapeData>(&data)) {
    const std::int64_t all =
        shapes->set->spec().rows();  // the only data that are arrays of each member's own
    bytes.data += allocated(all * static_cast<std::int64_t>(sizeof(law::ShapePlace))) + allocated(all * 4) +
                  allocated(request.spec->inputs / kQuad + 1);
  }
  bytes.data += static_cast<std::int64_t>(sizeof(Member));
  return bytes;
}

// What members may share: the rows of a table, or the masks of images.
struct SharedBytes {
  const void* source = nullptr;
  std::int64_t bytes = 0;
};

SharedBytes shared_bytes_of(const Data& data) {
  if (const auto* array = std::get_if<ArrayData>(&data))
    return {array->table.get(),
            static_cast<std::int64_t>(array->table->y.size()) * 4 * (padded(array->table->dim) + 1)};
  if (const auto* shapes = std::get_if<ShapeData>(&data)) {
    const ShapeSet& set = *shapes->set;
    return {&set, static_cast<std::int64_t>(sizeof(law::Shapes) + set.boxes().size() * sizeof(law::ShapeBox) +
                                            set.values().size() * sizeof(float) +
                                            set.spans().size() * sizeof(law::ShapeSpan))};
  }
  return {};
}

}  // namespace

// A part stays free for the driver, the graphs and the rounding of allocations.
std::int64_t CudaBackend::available() const {
  set_device(device_);
  const auto free = static_cast<std::int64_t>(device_memory().free);
  const std::int64_t usable = free - free / 20;
  return memory_limit_ > 0 ? std::min(usable, memory_limit_) : usable;
}

std::size_t CudaBackend::shared_limit() const {
  return std::min(shared_limit_, device_properties(device_).shared_per_block);
}

int CudaBackend::wave_members(const WaveRequest& request) const {
  const std::int64_t all = available(), scratch = scratch_room(request, all);
  std::int64_t left = all - scratch;
  const std::int64_t parameters = 4 * DeviceLayout(*request.spec).stride();
  const auto of_images = [](const Data& data) { return std::holds_alternative<ShapeData>(data); };
  const bool images = of_images(request.data.front());
  const std::int64_t training =
      request.trainings.empty() ? 0
                                : training_bytes(*request.spec, request.trainings, shared_limit(), images);
  std::set<const void*> counted;
  int count = 0;
  for (const Data& data : request.data) {
    if (of_images(data) != images) break;  // they share no wave
    const MemberBytes bytes = bytes_of(request, data, parameters, training);
    const SharedBytes of_data = shared_bytes_of(data);
    const std::int64_t shared = counted.insert(of_data.source).second ? of_data.bytes : 0;
    if (bytes.total() + shared > left) {
      if (count == 0)
        fail(ErrorKind::device,
             "device cuda:{}: one member needs {:.1f} MiB (data {:.1f}, parameters {:.1f}, training {:.1f}, "
             "tables and masks {:.1f}) beside "
             "{:.1f} MiB of scratch, and {:.1f} MiB can be used; use fewer training rows, a smaller batch or "
             "a smaller network",
             device_, in_mib(bytes.total() + shared), in_mib(bytes.data), in_mib(bytes.parameters),
             in_mib(bytes.training), in_mib(shared), in_mib(scratch), in_mib(all));
      break;
    }
    left -= bytes.total() + shared;
    if (++count == kMaxSlots) break;
  }
  return count;
}

std::unique_ptr<Wave> CudaBackend::open(const WaveRequest& request) {
  return std::make_unique<CudaWave>(device_, request, score_budget(available()), shared_limit());
}

Backend& backend(int device) {
  static std::mutex mutex;
  static std::map<int, CudaBackend> backends;
  const DeviceAnswer answer = ask(device);
  if (!answer.usable) fail(ErrorKind::device, "device cuda:{}: {}", device, answer.obstacle);
  const std::lock_guard lock(mutex);
  return backends.try_emplace(device, device).first->second;
}

}  // namespace occam::cuda
