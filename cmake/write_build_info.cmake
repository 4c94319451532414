# cmake -D GIT=… -D SOURCE_DIR=… -D DIRECTORY=… -P write_build_info.cmake
# Fills commit and dirty flag into DIRECTORY/occam_build_info.hpp.
set(OCCAM_COMMIT unknown)
set(OCCAM_DIRTY false)

# Runs git in the source folder; a container may mount it under another owner, which git would refuse to read.
function(git output)
  execute_process(COMMAND ${GIT} -c safe.directory=${SOURCE_DIR} -C ${SOURCE_DIR} ${ARGN}
    OUTPUT_VARIABLE text ERROR_QUIET RESULT_VARIABLE status OUTPUT_STRIP_TRAILING_WHITESPACE)
  set(${output} "${text}" PARENT_SCOPE)
  set(git_ok FALSE PARENT_SCOPE)
  if(status EQUAL 0)
    set(git_ok TRUE PARENT_SCOPE)
  endif()
endfunction()

if(GIT)
  # A source folder unpacked inside another project's checkout must not report that project's commit.
  git(prefix rev-parse --show-prefix)
  if(git_ok AND prefix STREQUAL "")
    git(commit rev-parse --verify --quiet HEAD)
    if(git_ok)
      set(OCCAM_COMMIT ${commit})
      git(changes status --porcelain)
      if(NOT changes STREQUAL "")
        set(OCCAM_DIRTY true)
      endif()
    endif()
  endif()
endif()
configure_file(${DIRECTORY}/occam_build_info.hpp.in ${DIRECTORY}/occam_build_info.hpp @ONLY)
