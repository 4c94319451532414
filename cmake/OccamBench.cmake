# build/tools/bench_worker, Occam's side of tools/bench. It loads cuBLAS when it is asked for the peak, so that it
# runs where there is none; the toolkit's folder is for toolkits that the loader does not know.
file(GLOB bench_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/bench_lib/*.cpp)
add_executable(bench_worker ${bench_sources})
set_target_properties(bench_worker PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tools)
target_include_directories(bench_worker PRIVATE ${PROJECT_SOURCE_DIR}/src ${generated_dir})
target_link_libraries(bench_worker PRIVATE occam PkgConfig::OPENBLAS)
occam_compile_together(bench_worker <nlohmann/json.hpp>)
if(OCCAM_HAS_CUDA)
  target_sources(bench_worker PRIVATE ${PROJECT_SOURCE_DIR}/tools/bench_lib/cuda_ceilings.cu)
  target_compile_definitions(bench_worker PRIVATE OCCAM_HAS_CUDA=1)
  target_link_libraries(bench_worker PRIVATE CUDA::cudart_static ${CMAKE_DL_LIBS})
  set_property(TARGET bench_worker APPEND PROPERTY BUILD_RPATH ${CUDAToolkit_LIBRARY_DIR})
endif()
