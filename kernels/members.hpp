// What kernels know of a wave: plain structs, filled by src/cuda and passed by value or kept in device
// memory.
//
// A slot is a member's place in a launch (blockIdx.y). In training slot i is member i; in scoring a list says
// who it is. Rows of a matrix are padded to an odd number of quads of floats: every row starts 16-byte
// aligned, and 16 bytes of eight rows lie in different banks of shared memory. What stands in the last quad's
// padding makes it harmless in a product: −0 in data, activations and gradients, +0 in weights, and
// x + (−0 · +0) is x, whatever x. A quad that is padding alone is never read.
#pragma once

#include <cstdint>

#include "law/dropout.hpp"
#include "law/optimizer.hpp"
#include "occam/host_device.hpp"
#include "occam/layers.hpp"
#include "occam/split.hpp"

namespace occam::law {
struct SlabColumn;
struct Shapes;
struct ShapePlace;
}  // namespace occam::law

namespace occam::cuda {

inline constexpr int kQuad = 4;           // floats moved at a time
inline constexpr float kPadding = -0.0f;  // of data, activations and gradients
inline constexpr int kMaxSlots = 65535;   // blockIdx.y

OCCAM_HD constexpr int padded(int columns) { return ((columns + kQuad - 1) / kQuad | 1) * kQuad; }

// A member's constants. Rows are numbered within the split, and all rows run test, validation, train.
struct Member {
  float* train_x;                  // [rows[train]][stride] as the model sees them; null: not resident
  std::int32_t* train_y;           // [rows[train]]
  const float* table_x;            // [all rows][stride] of a user's own; null: slab data or images
  const std::int32_t* table_y;     // [all rows]; null: slab data
  const law::Shapes* shapes;       // null: no images of shapes
  const law::ShapePlace* places;   // [all rows] of images
  const std::uint8_t* live;        // [inputs / kQuad, rounded up] of images: 1 where training changes weights
  const law::SlabColumn* columns;  // [inputs]; null: no slab data
  const float* rotation;           // [inputs][stride]; null: not rotated
  std::int64_t rows[3], first[3];  // by Split
  std::uint32_t data_seed, order_seed;
  bool in_order;  // no epoch is shuffled
  law::OptimizerConstants optimizer;
  law::Dropout input_dropout, hidden_dropout;
};

// Members without dropout have kernels of their own in plan resident, one for plain SGD and one for optimisers with state. A
// member's plan follows from itself, not from its company: on tensor cores it decides about the bits, in fp32 about the speed.
OCCAM_HD bool has_dropout(const Member& m) {
  return m.input_dropout.threshold > 0 || m.hidden_dropout.threshold > 0;
}
OCCAM_HD bool keeps_state(const Member& m) {
  return m.optimizer.kind != OptimizerKind::sgd || m.optimizer.momentum != 0.0f;
}

// How far a member's training is. A member without remaining updates is frozen: every kernel passes it by.
struct Progress {
  std::int64_t update;     // done
  std::int64_t remaining;  // in the present call
  law::AdamScale adam;     // of this update
};

// A linear map and what follows it. Offsets in floats into a member's parameters on the device, −1: none.
struct LayerView {
  int in, out;                // features
  int in_stride, out_stride;  // padded
  int number;                 // 0 is the first
  bool hidden;                // activation, dropout and batch norm follow
  Activation activation;
  std::int64_t weight;                                       // [out][in_stride]
  std::int64_t bias;                                         // [out_stride]
  std::int64_t slope;                                        // [1]
  std::int64_t gamma, beta, running_mean, running_variance;  // [out_stride]
};

// The members' trainable state and constants.
struct WaveView {
  const Member* members;
  Progress* progress;      // [members]
  float* parameters;       // [members][parameter_stride]
  float *state0, *state1;  // as parameters; null where no member's optimiser has such state
  std::int64_t parameter_stride;
};

// Which members a launch works on, and how many rows each of them has in hand (0: passed by).
struct Slots {
  int count;
  int capacity;       // rows of every slot's matrices
  const int* member;  // [count]; null: slot i is member i
  const int* rows;    // [count]

  OCCAM_HD int member_of(int slot) const { return member ? member[slot] : slot; }
};

}  // namespace occam::cuda
