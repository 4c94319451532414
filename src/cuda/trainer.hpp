// Trains the members of a wave: plan *tiled*, one launch per operation for all members together, recorded
// once as graphs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "../backend.hpp"
#include "batch.hpp"
#include "cuda/resident.hpp"

namespace occam::cuda {

class Trainer {
 public:
  Trainer(Resident& resident, std::span<const Training> trainings);

  // Member i does updates[i] more; the host waits once, at the end.
  void train(std::span<const std::int64_t> updates);

  // Device bytes a member needs beside Resident's.
  static std::int64_t member_bytes(const MlpSpec& spec, std::span<const Training> trainings);

 private:
  // A layer's matrices of all members, [members][batch][out_stride]. Where a step is absent its result is the
  // one before.
  struct Layer {
    LayerView view;
    DeviceBuffer<float> dropped, kept, normalized, moments;
    float* output = nullptr;            // what the next layer reads
    const float* derivative = nullptr;  // what the activation's derivative reads
  };

  void update();  // launches one update
  void forward(std::size_t l);
  void backward(std::size_t l, const float* delta, float* below_delta);

  Resident& resident_;
  WaveView wave_{};
  Slots slots_{};
  bool drops_inputs_ = false;
  std::vector<Layer> layers_;
  std::vector<Progress> host_progress_;
  DeviceBuffer<Progress> progress_;
  DeviceBuffer<float> state0_, state1_;  // as the parameters
  DeviceBuffer<std::uint32_t> batch_;    // [members][batch]
  DeviceBuffer<int> rows_;               // [members]
  DeviceBuffer<float> inputs_;           // [members][batch][padded inputs], only where inputs are dropped
  DeviceBuffer<float> delta_[2];         // [members][batch][widest hidden layer]
  DeviceBuffer<float> row_gradients_;    // [members][batch], PReLU alone
  Graph many_, one_;                     // kGraphUpdates updates, and one
};

}  // namespace occam::cuda
