// A layer of a network and its weights, in both orientations. Included inside namespace occam::cpu::<instruction set>.

// A linear map and what follows it. The optimiser works on the orientation of the weights that wastes fewer
// lanes ("master"); the other orientation is a copy, made after each step where a product needs it.
struct Layer {
  std::int64_t in, out, in_stride, out_stride;
  bool output;  // the last layer: nothing follows it
  bool master_is_transposed;
  // [out][in_stride]: B of the input gradient; null for a first layer with transposed master.
  float* weight = nullptr;
  float* transposed;             // [in][out_stride]: B of the forward product
  Parameter master, bias;        // master: [out][in_stride] or [in][out_stride]; bias: [out_stride]
  Parameter slope, gamma, beta;  // count 0: none
  BatchNorm norm;
  float *z, *h, *dropped,
      *y;  // [capacity][out_stride]: before and after activation, after dropout, output of the layer.
           // They alias where a step is absent. In the backward pass y becomes dL/dz.
};

// body(unit, feature) for all weights, by squares: both orientations then keep to few cache lines.
template <class Body>
inline void for_each_weight(const Layer& layer, const Body& body) {
  constexpr std::int64_t kSquare = 32;
  for (std::int64_t first_k = 0; first_k < layer.in; first_k += kSquare)
    for (std::int64_t first_j = 0; first_j < layer.out; first_j += kSquare)
      for (std::int64_t j = first_j; j < layer.out && j < first_j + kSquare; ++j)
        for (std::int64_t k = first_k; k < layer.in && k < first_k + kSquare; ++k) body(j, k);
}

inline std::int64_t master_place(const Layer& layer, std::int64_t j, std::int64_t k) {
  return layer.master_is_transposed ? k * layer.out_stride + j : j * layer.in_stride + k;
}
inline float* master_weight(const Layer& layer, std::int64_t j, std::int64_t k) {
  return layer.master.value + master_place(layer, j, k);
}

// Makes the other orientation anew.
inline void copy_weights(Layer& layer) {
  if (layer.master_is_transposed) {
    if (layer.weight)
      transpose(layer.transposed, layer.out_stride, layer.in, layer.out, layer.weight, layer.in_stride);
  } else {
    transpose(layer.weight, layer.in_stride, layer.out, layer.in, layer.transposed, layer.out_stride);
  }
}
