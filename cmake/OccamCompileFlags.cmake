# Compile options of every target. The law of arithmetic (docs/arithmetic.md) rests on the first flag: a fused
# multiply-add stands in the source or does not happen. The other two of `law` change no value.
set(law -ffp-contract=off -fno-math-errno -fno-trapping-math)
set(baseline -mavx2 -mfma)
# Not CMAKE_CXX_STANDARD: CMake 3.25 would ask the same of the .cu files, and does not know CUDA20.
set(standard -std=c++20)
# Designated initialisers leave fields to their defaults on purpose.
set(warnings -Wall -Wextra -Wshadow -Wno-missing-field-initializers -Werror=return-type)
set(OCCAM_AVX512_FLAGS -mavx512f -mavx512vl -mavx512dq -mavx512bw -mprefer-vector-width=512)

# For what spends its time elsewhere: it compiles in two thirds of the time.
set(OCCAM_COLD_FLAGS $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-Og>)

# occam_compile_together(<target> [header...]): these headers, and what most sources include, are parsed once for all
# of the target, and its sources compile several at a time, unless OCCAM_TOGETHER is off.
function(occam_compile_together target)
  if(OCCAM_TOGETHER)
    target_precompile_headers(${target} PRIVATE
      ${ARGN} <fmt/format.h> <algorithm> <cmath> <map> <memory> <span> <string> <vector>)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 6)
  endif()
endfunction()

if(OCCAM_WERROR)
  list(APPEND warnings -Werror)
endif()
if(OCCAM_SANITIZE)
  set(sanitizers -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()

foreach(flag IN LISTS standard law baseline warnings sanitizers)
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:${flag}>)
endforeach()
# GCC 12 sees an overlap that cannot be in std::string's operator+ (its bug 105651).
add_compile_options($<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict>)
# GCC collects no garbage before it holds 512 MB (figure in kB): a tenth of the time of sources full of templates.
add_compile_options($<$<COMPILE_LANG_AND_ID:CXX,GNU>:--param=ggc-min-heapsize=524288>)

if(OCCAM_HAS_CUDA)
  # The host code that nvcc generates shadows names and leaves parameters unused: only -Wall is asked of it.
  list(JOIN law "," host_law)
  list(JOIN baseline "," host_baseline)
  # fmt 9 takes nvcc for a compiler without constexpr functions; lambdas of kernels are called by functions for both sides.
  set(cuda_flags ${standard} -fmad=false -lineinfo -DFMT_USE_CONSTEXPR=1 --expt-relaxed-constexpr
    -Xcompiler=${host_law},${host_baseline},-Wall)
  if(OCCAM_WERROR)
    list(APPEND cuda_flags -Werror=all-warnings)
  endif()
  if(OCCAM_PTXAS_REPORT)
    list(APPEND cuda_flags -Xptxas=-v)
  endif()
  foreach(flag IN LISTS cuda_flags)
    add_compile_options($<$<COMPILE_LANGUAGE:CUDA>:${flag}>)
  endforeach()
  list(JOIN cuda_flags " " OCCAM_CUDA_FLAGS_TEXT)
endif()

string(TOUPPER "${CMAKE_BUILD_TYPE}" build_type)
list(JOIN law " " law_text)
list(JOIN baseline " " baseline_text)
list(JOIN sanitizers " " sanitizers_text)
string(CONCAT text "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${build_type}} ${standard} "
  "${law_text} ${baseline_text} ${sanitizers_text}")
string(STRIP "${text}" text)
string(REPLACE "\"" "\\\"" OCCAM_CXX_FLAGS_TEXT "${text}")
