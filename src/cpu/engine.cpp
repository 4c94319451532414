#include "cpu/engine.hpp"

#include <cstdlib>
#include <string_view>

#include "occam/error.hpp"

namespace occam::cpu {

namespace {

enum class InstructionSet { avx2, avx512 };

InstructionSet choose() {
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  const char* asked = std::getenv("OCCAM_CPU_ISA");
  if (!asked || !*asked) return has_avx512 ? InstructionSet::avx512 : InstructionSet::avx2;
  const std::string_view word = asked;
  require(word == "avx2" || word == "avx512",
          "OCCAM_CPU_ISA: '{}' is not an instruction set (use avx2 or avx512)", word);
  if (word == "avx512" && !has_avx512)
    fail(ErrorKind::device, "OCCAM_CPU_ISA: this processor has no AVX-512 (unset it, or use avx2)");
  return word == "avx512" ? InstructionSet::avx512 : InstructionSet::avx2;
}

}  // namespace

const char* instruction_set() { return choose() == InstructionSet::avx512 ? "avx512" : "avx2"; }

std::unique_ptr<Engine> make_engine(const MlpSpec& spec, const ParameterLayout& layout,
                                    const Training* training, std::uint32_t order_seed,
                                    const ImageInput* images) {
  return choose() == InstructionSet::avx512 ? avx512::make_engine(spec, layout, training, order_seed, images)
                                            : avx2::make_engine(spec, layout, training, order_seed, images);
}

}  // namespace occam::cpu
