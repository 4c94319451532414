# build/tools/bench_worker, Occam's side of tools/bench. The only place where OpenBLAS
# and cuBLAS are linked.
file(GLOB bench_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/bench_lib/*.cpp)
pkg_check_modules(OPENBLAS REQUIRED IMPORTED_TARGET openblas)
add_executable(bench_worker ${bench_sources})
set_target_properties(bench_worker PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tools)
target_include_directories(bench_worker PRIVATE ${PROJECT_SOURCE_DIR}/src ${generated_dir})
target_link_libraries(bench_worker PRIVATE occam PkgConfig::OPENBLAS)
if(OCCAM_HAS_CUDA)
  target_sources(bench_worker PRIVATE ${PROJECT_SOURCE_DIR}/tools/bench_lib/cuda_ceilings.cu)
  target_compile_definitions(bench_worker PRIVATE OCCAM_HAS_CUDA=1)
  target_link_libraries(bench_worker PRIVATE CUDA::cudart_static CUDA::cublas)
endif()
