# build/tools/lab_runner: variants of the resident kernel on a GPU, for tools/lab, which builds it when there is one.
# build/tools/lab_runner_simt: the same variants under the SIMT executor, for tests/python/test_lab.py.
set(lab_sources ${PROJECT_SOURCE_DIR}/tools/lab_lib/lab.cpp ${PROJECT_SOURCE_DIR}/tools/lab_lib/variants.cu)

if(OCCAM_HAS_CUDA)
  add_executable(lab_runner EXCLUDE_FROM_ALL ${lab_sources})
  set_target_properties(lab_runner PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tools)
  target_include_directories(lab_runner PRIVATE
    ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/kernels ${PROJECT_SOURCE_DIR}/tools/lab_lib)
  target_compile_definitions(lab_runner PRIVATE OCCAM_HAS_CUDA=1)
  target_link_libraries(lab_runner PRIVATE occam CUDA::cudart_static CUDA::nvtx3)
endif()

if(TARGET occam_simt_executor_plain)
  find_package(Boost REQUIRED COMPONENTS context)
  # A copy of the source, because a file has one language in a directory and nvcc compiles the original.
  set(variants_on_host ${PROJECT_BINARY_DIR}/generated/lab_variants_simt.cpp)
  file(CONFIGURE OUTPUT ${variants_on_host} CONTENT "#include \"tools/lab_lib/variants.cu\"\n")
  add_executable(lab_runner_simt ${PROJECT_SOURCE_DIR}/tools/lab_lib/lab.cpp ${variants_on_host}
    $<TARGET_OBJECTS:occam_simt_executor_plain> $<TARGET_OBJECTS:occam_simt_host>
    $<TARGET_OBJECTS:occam_simt_kernels_plain>)
  set_target_properties(lab_runner_simt PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tools CXX_VISIBILITY_PRESET hidden)
  target_compile_definitions(lab_runner_simt PRIVATE OCCAM_SIMT=1)
  # -O1: ten variants of a kernel compile in half the time, and small networks are all they train here.
  target_compile_options(lab_runner_simt PRIVATE -O1 -Wno-unknown-pragmas)
  target_include_directories(lab_runner_simt PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/tests
    ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/kernels ${PROJECT_SOURCE_DIR}/tools/lab_lib)
  target_link_libraries(lab_runner_simt PRIVATE occam Boost::headers Boost::context ${CMAKE_DL_LIBS})
  target_link_options(lab_runner_simt PRIVATE -Wl,--allow-multiple-definition)
endif()
