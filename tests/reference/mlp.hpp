// A multilayer perceptron in double precision, written from the formulas in the textbooks: the oracle that
// bounds the error of every fp32 body. Nothing here is shared with the code it judges, and nothing here is
// meant to be fast.
//
// A hidden layer is linear, activation, dropout, batch norm; dropout on the input comes first. Dropout masks
// are given: what a value is multiplied by, 0 or 1/(1 − p).
#pragma once

#include <cstddef>
#include <vector>

namespace reference {

using Vector = std::vector<double>;

enum class Activation { relu, leaky_relu, prelu, tanh, identity };
enum class Loss { cross_entropy, binary_cross_entropy, hinge };

struct Net {
  std::vector<int> widths;  // inputs, hidden widths, outputs
  Activation activation = Activation::relu;
  Loss loss = Loss::cross_entropy;
  bool batch_norm = false;
  double leaky_slope = 0.01, epsilon = 1e-5, momentum = 0.1;  // batch norm's last two

  int layers() const { return static_cast<int>(widths.size()) - 1; }
  int inputs() const { return widths.front(); }
  int outputs() const { return widths.back(); }
};

struct Layer {
  Vector weight;          // [fan_out][fan_in]
  Vector bias;            // [fan_out]
  double slope = 0;       // PReLU's, one for the layer
  Vector gamma, beta;     // [fan_out], hidden layers with batch norm
  Vector mean, variance;  // running averages, [fan_out]
};
using Parameters = std::vector<Layer>;  // one entry for each linear map

struct Batch {
  Vector x;                   // [rows][inputs]
  std::vector<int> labels;    // [rows]
  Vector input_mask;          // [rows][inputs]; empty: no dropout
  std::vector<Vector> masks;  // one for each hidden layer, [rows][width]; empty: no dropout
  int rows() const { return static_cast<int>(labels.size()); }
};

enum class Mode { training, inference };

// What a layer computed; [rows][width] each.
struct Trace {
  Vector x;               // input of the linear map
  Vector z, h;            // before and after the activation
  Vector dropped;         // after dropout
  Vector y;               // output of the layer
  Vector mean, variance;  // of the batch (training) or running (inference), [width]
};

struct Forward {
  std::vector<Trace> traces;
  Vector logits;    // [rows][outputs]
  double loss = 0;  // mean over the rows
};

Forward forward(const Net& net, const Parameters& parameters, const Batch& batch, Mode mode);

// Gradients of the mean loss in training mode; running averages are left empty.
struct Gradients {
  Parameters parameters;
  Vector x;  // with respect to the batch's x, [rows][inputs]
};
Gradients backward(const Net& net, const Parameters& parameters, const Batch& batch, const Forward& pass);

// running ← (1 − momentum) running + momentum · batch, with the batch's unbiased variance.
void move_running_averages(const Net& net, const Forward& pass, Parameters& parameters);

// Loss of one row, and the class it is predicted to be (ties go to the lower class).
double loss_of(const Net& net, const double* logit, int label);
int predicted_class(const Net& net, const double* logit);

// Every trainable number in a fixed order: for each layer weight, bias, then (hidden layers) slope, gamma,
// beta.
std::vector<double*> trainable(const Net& net, Parameters& parameters);

}  // namespace reference
