// Multilayer perceptrons of one architecture, many at a time. A member is its seeds and its hyper-parameters;
// its bits do not depend on who trains beside it (docs/arithmetic.md).
//
// A hidden layer is linear, activation, dropout, batch norm, in that order, as in Shah et al. 2020's code; no
// hidden layer is a linear model. Dropout on the input comes before the first layer.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "occam/device.hpp"
#include "occam/layers.hpp"

namespace occam {

struct MlpSpec {
  int inputs = 50;
  std::vector<int> hidden = {100, 100};
  int classes = 2;
  Activation activation = Activation::relu;
  Loss loss = Loss::cross_entropy;
  bool batch_norm = false;  // momentum 0.1, epsilon 1e-5, affine, as PyTorch's BatchNorm1d
  bool operator==(const MlpSpec&) const = default;

  int outputs() const { return loss == Loss::cross_entropy ? classes : 1; }
  int layers() const { return static_cast<int>(hidden.size()) + 1; }  // linear maps
  int fan_in(int layer) const { return layer == 0 ? inputs : hidden[static_cast<std::size_t>(layer) - 1]; }
  int fan_out(int layer) const {
    return layer + 1 == layers() ? outputs() : hidden[static_cast<std::size_t>(layer)];
  }
};

// Throws a usage error: inputs outside [1, 65536], a width outside [1, 16384], more than 16 layers, classes outside [2, 256],
// a one-logit loss with more than two classes.
void validate(const MlpSpec& spec);

// "100x100", "linear" for no hidden layer.
std::string architecture_name(const std::vector<int>& hidden);

// Where each tensor lies in a member's flat parameter vector. Offsets and counts are in floats.
// Order: for each layer weight [fan_out][fan_in], bias [fan_out], and for a hidden layer the PReLU slope [1]
// and batch norm's gamma [width], beta [width]. `trainable` floats are parameters; then come batch norm's
// running mean and variance.
struct ParameterLayout {
  struct Layer {
    std::int64_t weight = 0, bias = 0;
    std::int64_t slope = -1;                                // −1: none
    std::int64_t gamma = -1, beta = -1;                     // −1: none
    std::int64_t running_mean = -1, running_variance = -1;  // at or beyond `trainable`
    int fan_in = 0, fan_out = 0;
  };
  std::vector<Layer> layers;
  std::int64_t trainable = 0, total = 0;

  explicit ParameterLayout(const MlpSpec& spec);
};

enum class InitializationKind : std::int32_t {
  pytorch = 0,          // weights and biases uniform ±1/sqrt(fan_in) (torch.nn.Linear)
  kaiming_uniform = 1,  // ±sqrt(6 / fan_in), bias 0
  kaiming_normal = 2,   // N(0, 2 / fan_in), bias 0
  xavier_uniform = 3,   // ±sqrt(6 / (fan_in + fan_out)), bias 0
  xavier_normal = 4,    // N(0, 2 / (fan_in + fan_out)), bias 0
};
struct Initialization {
  InitializationKind kind = InitializationKind::pytorch;
  double scale = 1.0;  // multiplies weights and biases
  bool operator==(const Initialization&) const = default;
};

struct Seeds {
  std::uint32_t data = 0, init = 0, order = 0;
  bool operator==(const Seeds&) const = default;
};

// An ensemble: one architecture, many members, and their parameters on the host. Training and measuring move
// the members they work on to the device and back, so an ensemble may be larger than the device.
class MlpEnsemble {
 public:
  // seeds and inits have one entry per member, whose parameters are drawn when they are asked for; fit() draws them where
  // it trains. Throws usage errors (validate(spec)).
  MlpEnsemble(MlpSpec spec, std::vector<Seeds> seeds, std::vector<Initialization> inits, Device device);
  MlpEnsemble(MlpSpec spec, std::vector<Seeds> seeds, Device device)
      : MlpEnsemble(std::move(spec), seeds, std::vector<Initialization>(seeds.size()), std::move(device)) {}

  const MlpSpec& spec() const { return spec_; }
  const ParameterLayout& layout() const { return layout_; }
  const Device& device() const { return device_; }
  int members() const { return static_cast<int>(seeds_.size()); }
  const Seeds& seeds(int member) const { return seeds_[static_cast<std::size_t>(member)]; }
  const Initialization& initialization(int member) const { return inits_[static_cast<std::size_t>(member)]; }

  // Becomes true: what measures or attacks these models, or a subset of them, throws Interrupted (occam/training.hpp)
  // at its next chance. fit() has a request of its own.
  void heed(const std::atomic<bool>* interrupt) { interrupt_ = interrupt; }
  const std::atomic<bool>* interrupt() const { return interrupt_; }

  // The listed members, as they are, in an ensemble of their own. Here and below a member that there is not is a usage
  // error, and so is a subset without members.
  MlpEnsemble subset(std::span<const int> members) const;

  // [layout().total]: the last model of this member, and the best one as `fit` defines it. The best is the
  // last and has no memory of its own until it is first written to.
  std::span<float> last(int member) { return drawn(member); }
  std::span<const float> last(int member) const { return drawn(member); }
  std::span<float> best(int member);
  std::span<const float> best(int member) const {
    return own_best(member) ? floats(best_, member) : drawn(member);
  }
  // The same for a caller that has all of it anew: write(values) fills them. Where it throws, no model is there that was not.
  template <class F>
  void replace_last(int member, const F& write) {
    replace(last_, member, write);
  }
  template <class F>
  void replace_best(int member, const F& write) {
    replace(best_, member, write);
  }
  // Whether the last model has memory. Without it is what initialize() gives of the member's seed.
  bool is_drawn(int member) const { return exists(last_, member); }
  void best_is_last(int member) {
    require_member(member);
    best_[static_cast<std::size_t>(member)].reset();
  }

 private:
  using Floats = std::vector<std::unique_ptr<float[]>>;  // [members], each [layout().total]

  MlpEnsemble(const MlpEnsemble& of, std::vector<Seeds> seeds, std::vector<Initialization> inits);

  void require_member(int member) const;
  std::span<float> drawn(int member) const;
  template <class F>
  void replace(Floats& of, int member, const F& write) {
    std::unique_ptr<float[]> made;
    if (!exists(of, member)) made = unset();
    write(made ? values(made) : floats(of, member));
    const std::lock_guard lock(*drawing_);
    if (made) of[static_cast<std::size_t>(member)] = std::move(made);
  }
  bool exists(const Floats& of, int member) const {
    require_member(member);
    const std::lock_guard lock(*drawing_);
    return of[static_cast<std::size_t>(member)] != nullptr;
  }
  std::unique_ptr<float[]> unset() const;
  bool own_best(int member) const { return exists(best_, member); }
  std::span<float> values(const std::unique_ptr<float[]>& of) const {
    return {of.get(), static_cast<std::size_t>(layout_.total)};
  }
  std::span<float> floats(const Floats& of, int member) const {
    return values(of[static_cast<std::size_t>(member)]);
  }
  MlpSpec spec_;
  ParameterLayout layout_;
  std::vector<Seeds> seeds_;
  std::vector<Initialization> inits_;
  Device device_;
  mutable Floats last_;  // null: not drawn yet
  Floats best_;          // null: the last
  std::unique_ptr<std::mutex> drawing_ = std::make_unique<std::mutex>();
  const std::atomic<bool>* interrupt_ = nullptr;
};

// One member's initial parameters, [layout.total], on so many threads; they do not decide about them.
void initialize(const MlpSpec& spec, const ParameterLayout& layout, const Initialization& init,
                std::uint32_t seed, std::span<float> parameters, int threads = 1);

}  // namespace occam
