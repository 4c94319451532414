// Which CUDA devices this machine has, and why one cannot be used.
#pragma once

#include <string>
#include <vector>

namespace occam::cuda {

struct DeviceAnswer {
  bool usable = false;
  std::string name;      // "NVIDIA H200"
  std::string obstacle;  // why not: no driver, no such device, too old, no code for it
};

DeviceAnswer ask(int index);

// One answer per device; empty without any, and `why` (if given) then receives the reason.
std::vector<DeviceAnswer> devices(std::string* why = nullptr);

}  // namespace occam::cuda
