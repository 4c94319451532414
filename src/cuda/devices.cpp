#include "cuda/devices.hpp"

#include "cuda/architectures.hpp"
#include "cuda/runtime.hpp"

namespace occam::cuda {

namespace {
constexpr int kOldest = 8;  // compute capability; asynchronous copies begin there
}

DeviceAnswer ask(int index) {
  std::string why;
  const int count = device_count(&why);
  if (count == 0) return {false, "", why};
  if (index < 0 || index >= count)
    return {false, "",
            fmt::format("there is no device {}; this machine has {}, counted from 0", index, count)};
  const DeviceProperties properties = device_properties(index);
  if (properties.major < kOldest)
    return {false, properties.name,
            fmt::format("{} has compute capability {}.{}, Occam needs {}.0", properties.name,
                        properties.major, properties.minor, kOldest)};
  if (!has_code_for(compiled_for(), properties.major, properties.minor))
    return {false, properties.name,
            fmt::format("{} has compute capability {}.{}, this build's kernels are compiled for {}; "
                        "configure with -DOCCAM_CUDA_ARCHITECTURES={}{}",
                        properties.name, properties.major, properties.minor, compiled_for(), properties.major,
                        properties.minor)};
  return {true, properties.name, ""};
}

std::vector<DeviceAnswer> devices(std::string* why) {
  std::vector<DeviceAnswer> answers;
  for (int index = 0; index < device_count(why); ++index) answers.push_back(ask(index));
  return answers;
}

}  // namespace occam::cuda
