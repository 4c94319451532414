// Where an ensemble lives: a CPU with some threads, or one CUDA device.
#pragma once

#include <string>
#include <string_view>

namespace occam {

enum class DeviceKind { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;       // CUDA ordinal
  int threads = 1;     // host threads that train members side by side (CPU)
  std::string name;    // "Intel(R) Xeon(R) …", "NVIDIA H200"
  std::string reason;  // why this device: "requested", "no CUDA device: …"
};

// `request` is auto, cpu, cuda or cuda:N. threads = 0 means all that the process may use. auto takes CUDA
// device 0 where there is one and otherwise the CPU, and `reason` says why. Throws usage errors for other
// words and a device error, with what is missing (toolkit support in this build, driver, device), when CUDA
// is asked for and cannot be had.
Device select_device(std::string_view request, int threads = 0);

// One line for the user: which device and why.
std::string describe(const Device& device);

}  // namespace occam
