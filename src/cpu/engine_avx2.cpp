// The CPU engine for AVX2.
#include <immintrin.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "cpu/engine.hpp"
#include "law/activation.hpp"
#include "law/batch.hpp"
#include "law/batch_norm.hpp"
#include "law/dropout.hpp"
#include "law/loss.hpp"
#include "law/optimizer.hpp"
#include "law/sum.hpp"

namespace occam::cpu::avx2 {
#include "cpu/engine.inl"
#include "cpu/layers.inl"
#include "cpu/product.inl"
#include "cpu/vector.inl"
}  // namespace occam::cpu::avx2
