# Programs compiled by nvcc with the machine of tests/machine in the place of CUDA's runtime; tools/machine builds and
# runs them. The runtime's functions stand before the libraries, so that none of libcudart's is taken.
if(NOT OCCAM_HAS_CUDA OR NOT TARGET occam_machine)
  return()
endif()
find_package(GTest REQUIRED)
add_library(occam_machine_runtime OBJECT EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tests/machine/cuda_runtime.cpp)
target_include_directories(occam_machine_runtime PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
target_link_libraries(occam_machine_runtime PRIVATE occam_machine)

function(occam_on_machine target original)
  add_executable(${target} EXCLUDE_FROM_ALL $<TARGET_OBJECTS:${original}> $<TARGET_OBJECTS:occam_machine_runtime>)
  set_target_properties(${target} PROPERTIES
    LINKER_LANGUAGE CXX RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/machine)
  target_link_libraries(${target} PRIVATE occam_machine ${ARGN})
endfunction()
occam_on_machine(machine_contract occam_contract_tests
  occam_test_support occam_simt_checked occam_simt_plain GTest::gtest_main)
occam_on_machine(machine_lab lab_runner occam)
occam_on_machine(machine_worker bench_worker occam PkgConfig::OPENBLAS)

add_executable(machine_time EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tests/machine/machine_time.cpp)
set_target_properties(machine_time PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/machine)
target_link_libraries(machine_time PRIVATE occam_machine nlohmann_json::nlohmann_json)

# CUTLASS's products, for tools/machine products: OCCAM_CUTLASS is the folder of its headers.
set(OCCAM_CUTLASS "" CACHE PATH "Folder of CUTLASS's headers (include/), for tools/machine products")
if(OCCAM_CUTLASS)
  add_library(cutlass_products OBJECT EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tools/machine_lib/cutlass_products.cu)
  target_include_directories(cutlass_products SYSTEM PRIVATE ${OCCAM_CUTLASS})
  target_compile_options(cutlass_products PRIVATE -w -fmad=true)  # the law is not for them
  occam_on_machine(machine_products cutlass_products)
endif()
