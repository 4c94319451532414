# occam_build_info.hpp: what this build was made from. Versions and flags are known now; commit and dirty flag
# are looked up at every build, and the header is rewritten only when its content changes.
set(OCCAM_COMMIT "@OCCAM_COMMIT@")
set(OCCAM_DIRTY "@OCCAM_DIRTY@")
set(libraries
  "fmt=${fmt_VERSION}" "CLI11=${CLI11_VERSION}" "nlohmann_json=${nlohmann_json_VERSION}"
  "libzip=${LIBZIP_VERSION}" "zlib=${ZLIB_VERSION_STRING}" "libpng=${PNG_VERSION_STRING}"
  "OpenMP=${OpenMP_CXX_VERSION}")
if(OCCAM_HAS_CUDA)
  list(APPEND libraries "CUDA=${CMAKE_CUDA_COMPILER_VERSION}")
endif()
list(TRANSFORM libraries REPLACE "^(.*)=(.*)$" "    {\"\\1\", \"\\2\"},")
list(JOIN libraries "\n" OCCAM_LIBRARIES)

set(generated_dir ${PROJECT_BINARY_DIR}/generated)
configure_file(${PROJECT_SOURCE_DIR}/cmake/occam_build_info.hpp.in ${generated_dir}/occam_build_info.hpp.in
  @ONLY)
find_package(Git QUIET)
add_custom_target(occam_build_info
  COMMAND ${CMAKE_COMMAND} -D GIT=${GIT_EXECUTABLE} -D SOURCE_DIR=${PROJECT_SOURCE_DIR}
          -D DIRECTORY=${generated_dir} -P ${PROJECT_SOURCE_DIR}/cmake/write_build_info.cmake
  BYPRODUCTS ${generated_dir}/occam_build_info.hpp
  COMMENT "Looking up the commit" VERBATIM)
add_dependencies(occam_experiment occam_build_info)
add_dependencies(occam occam_build_info)
target_include_directories(occam PRIVATE ${generated_dir})
