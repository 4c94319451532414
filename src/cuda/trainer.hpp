// Trains the members of a wave by one of two plans, which agree to the bit in fp32 (docs/arithmetic.md):
//   resident  one block owns a member, and its parameters stay on the chip (kernels/resident.cu; in tf32 and bf16 on
//             tensor cores, outside the law, kernels/resident_tensor.cu)
//   tiled     one launch an operation or a few, for all members together (tiled_trainer.hpp; kernels/tensor_tile.cuh)
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "../backend.hpp"
#include "cuda/plan.hpp"
#include "cuda/wave_data.hpp"

namespace occam::cuda {

class Trainer {
 public:
  virtual ~Trainer() = default;

  // Member i does updates[i] more; the host waits once, at the end.
  void train(std::span<const std::int64_t> updates);

  // As those of Wave.
  TrainingState state(int member);
  void resume(int member, const TrainingState& state);

 protected:
  // Allocates progress and optimiser state. All trainings have one batch size, all members training rows.
  Trainer(WaveData& data, std::span<const Training> trainings);

  // Launches all updates of one learning rate; `most` is the largest number of them, at least 1.
  virtual void launch_updates(std::int64_t most) = 0;

  WaveData& data_;
  const TrainingNeeds needs_;
  const int batch_;
  WaveView wave_{};

 private:
  int slots_of(int member) const;  // of optimiser state; others of its wave may have more
  // Updates of a member between two changes of its learning rate; 0: it never changes.
  std::int64_t updates_of_rate(std::size_t member) const;
  void set_learning_rates();

  struct Rate {
    Optimizer optimizer;
    Schedule schedule;
    std::int64_t epoch = 0;  // of the rate that the device has
  };
  std::vector<Rate> rates_;  // [members]
  std::vector<Progress> host_progress_;
  DeviceBuffer<Progress> progress_;
  DeviceBuffer<float> state0_, state1_;  // as the parameters
};

// shared_limit: as for plan_resident.
std::unique_ptr<Trainer> make_trainer(WaveData& data, std::span<const Training> trainings,
                                      std::size_t shared_limit);

// Device bytes a member needs beside WaveData's. images: it trains on images of shapes.
std::int64_t training_bytes(const MlpSpec& spec, std::span<const Training> trainings,
                            std::size_t shared_limit, bool images);

}  // namespace occam::cuda
