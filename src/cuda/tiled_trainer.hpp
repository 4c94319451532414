// Plan *tiled*: one launch per operation for all members together, recorded once as graphs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "batch.hpp"
#include "cuda/adversary.hpp"
#include "cuda/trainer.hpp"

namespace occam::cuda {

class TiledTrainer final : public Trainer {
 public:
  // shared_limit: bytes of shared memory a block may have.
  TiledTrainer(WaveData& data, std::span<const Training> trainings, std::size_t shared_limit);

  // Device bytes a member needs beside what every trainer needs.
  static std::int64_t member_bytes(const MlpSpec& spec, std::span<const Training> trainings, bool images);

 private:
  // A layer's matrices of all members, [members][batch][out_stride]. Where a step is absent its result is the
  // one before.
  struct Layer {
    LayerView view;
    DeviceBuffer<float> dropped, kept, normalized, moments, gradient;
    float* output = nullptr;            // what the next layer reads
    const float* derivative = nullptr;  // what the activation's derivative reads
    float* delta = nullptr;             // dL/dz; of the last layer in the place of the logits
  };

  void launch_updates(std::int64_t most) override;
  void update();           // launches one update
  void pass_layers();      // of its forward and backward pass, layer by layer
  void pass_one_hidden();  // or of both layers at once
  void pass_samples();     // or samples by samples
  void forward(std::size_t l);
  void backward(std::size_t l);
  void step_weights();

  Slots slots_{};
  Precision precision_ = Precision::fp32;  // of products
  bool one_hidden_ = false, sample_pass_ = false;
  std::vector<Layer> layers_;
  DeviceBuffer<std::uint32_t> batch_;  // [members][batch]
  DeviceBuffer<int> rows_;             // [members]
  DeviceBuffer<float> inputs_;  // [members][batch][padded inputs], only where inputs are dropped or moved
  std::optional<Adversary> adversary_;
  DeviceBuffer<float> row_gradients_;  // [members][batch], PReLU alone
  std::int64_t graph_updates_;         // in a graph of many
  Graph many_, one_;                   // so many updates, and one
};

}  // namespace occam::cuda
