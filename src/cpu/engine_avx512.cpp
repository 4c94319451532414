// The CPU engine for AVX512.
#include <immintrin.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "cpu/engine.hpp"
#include "law/activation.hpp"
#include "law/attack.hpp"
#include "law/batch.hpp"
#include "law/batch_norm.hpp"
#include "law/dropout.hpp"
#include "law/loss.hpp"
#include "law/optimizer.hpp"
#include "law/sum.hpp"

namespace occam::cpu::avx512 {
// clang-format off: each of these builds on those before it.
#include "cpu/vector.inl"
#include "cpu/product.inl"
#include "cpu/layers.inl"
#include "cpu/arena.inl"
#include "cpu/batches.inl"
#include "cpu/images.inl"
#include "cpu/layer_weights.inl"
#include "cpu/network.inl"
#include "cpu/engine.inl"
#include "cpu/attack.inl"
// clang-format on
}  // namespace occam::cpu::avx512
