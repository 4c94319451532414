// One member on one core: its parameters, optimiser state and a batch of activations. The body (engine.inl)
// is compiled once for AVX2 and once for AVX-512; both give the same bits, since each element is one fmaf
// chain whatever the width.
#pragma once

#include <cstdint>
#include <memory>

#include "cpu/aligned_floats.hpp"
#include "law/attack.hpp"
#include "law/shape.hpp"
#include "occam/mlp.hpp"
#include "occam/training.hpp"

namespace occam::cpu {

// Row stride of a matrix with `width` columns, in floats: whole AVX-512 vectors, and never a multiple of 1
// KiB, so that the rows of a column do not share cache sets. Padding columns are zero throughout.
inline std::int64_t padded(std::int64_t width) {
  const std::int64_t vectors = (width + 15) / 16 * 16;
  return vectors % 256 == 0 ? vectors + 16 : vectors;
}

// Images of shapes, in place of rows of floats.
struct ImageRows {
  const law::Shapes* shapes = nullptr;
  const law::ShapePlace* place = nullptr;  // [rows]
};

// Rows on the host, padded to padded(inputs) and 64-byte aligned.
struct TrainingRows {
  const float* x = nullptr;         // [rows][padded(inputs)]; null: `images` are the rows
  const std::int32_t* y = nullptr;  // [rows]
  std::int64_t rows = 0;
  ImageRows images = {};
};

// What an engine for images must know before it sees them.
struct ImageInput {
  const law::Shapes* shapes = nullptr;
  const std::uint8_t* live = nullptr;  // [pixels], whose weights training changes; must outlive the engine
};

// Rows of a split under attack.
struct AttackRows {
  const float* x = nullptr;         // [count][padded(inputs)]
  const std::int32_t* y = nullptr;  // [count]
  std::int64_t first = 0;           // number of the first among all rows of the split
  std::int64_t count = 0, all = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;

  // parameters: [layout.total]. Optimiser state and update count are those of a new engine (zero) until
  // train().
  virtual void load(const float* parameters) = 0;
  virtual void store(float* parameters) const = 0;

  // One of the optimiser's state_slots() arrays, in the order of the parameters; running moments have none. values:
  // [layout.total], stored into zeros.
  virtual int state_slots() const = 0;
  virtual void load_state(int slot, const float* values) = 0;
  virtual void store_state(int slot, float* values) const = 0;
  // Updates done.
  virtual std::int64_t updates() const = 0;
  virtual void set_updates(std::int64_t updates) = 0;

  // `updates` further updates on batches of `rows` (law/batch.hpp).
  virtual void train(const TrainingRows& rows, std::int64_t updates) = 0;

  // Inference mode. x: [rows][padded(inputs)]; out: [rows][outputs].
  virtual void logits(const float* x, std::int64_t rows, float* out) = 0;

  // The same for images, of an engine made for them.
  virtual void logits(const ImageRows& images, std::int64_t rows, float* out) = 0;

  // dL/dx from dL/dlogits [rows][outputs], inference mode. x, gradient: [rows][padded(inputs)].
  virtual void input_gradient(const float* x, const float* logit_gradient, std::int64_t rows,
                              float* gradient) = 0;

  // PGD on `rows` of a split, from row `first` on. perturbation: [count][padded(inputs)]; logits at the end:
  // [count][outputs]; tracked: [iterations][all rows][outputs] of the split's rows, null: not wanted.
  virtual void perturb(const AttackRows& rows, const law::AttackConstants& attack, float* perturbation,
                       float* logits, float* tracked) = 0;

  // Each row's share of the gradient of a universal perturbation [padded(inputs)]. share:
  // [count][padded(inputs)].
  virtual void universal_shares(const AttackRows& rows, const law::AttackConstants& attack,
                                const float* universal, float* share) = 0;

  // out = x · matrix by the law (ascending k from 0). x: [rows][x_stride >= width]; matrix:
  // [width][padded(width)]; out: [rows][padded(width)].
  virtual void rotate(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t width,
                      const float* matrix, float* out) = 0;
};

// `training` is null for an engine that only scores and attacks; the attacks want such a one. With `images`
// it trains on and scores images of shapes, and neither attacks nor drops inputs. Not thread-safe; one
// engine a thread.
std::unique_ptr<Engine> make_engine(const MlpSpec& spec, const ParameterLayout& layout,
                                    const Training* training, std::uint32_t order_seed,
                                    const ImageInput* images = nullptr);

namespace avx2 {
std::unique_ptr<Engine> make_engine(const MlpSpec&, const ParameterLayout&, const Training*,
                                    std::uint32_t order_seed, const ImageInput* images);
}
namespace avx512 {
std::unique_ptr<Engine> make_engine(const MlpSpec&, const ParameterLayout&, const Training*,
                                    std::uint32_t order_seed, const ImageInput* images);
}

// The instruction set make_engine uses: the widest this machine has, or what OCCAM_CPU_ISA (avx2 or avx512)
// asks for. Throws a usage error for another word, a device error for one this machine lacks.
const char* instruction_set();

}  // namespace occam::cpu
