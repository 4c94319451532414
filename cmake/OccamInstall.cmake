# cmake --install: library, headers, experiments, the report tool and a package for find_package(occam).
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/occam)

install(TARGETS occam EXPORT occamTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/occam DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp")
get_property(experiments GLOBAL PROPERTY OCCAM_EXPERIMENTS)
if(experiments)
  install(TARGETS ${experiments} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(PROGRAMS tools/report DESTINATION ${CMAKE_INSTALL_DATADIR}/occam)
install(DIRECTORY tools/report_lib DESTINATION ${CMAKE_INSTALL_DATADIR}/occam PATTERN __pycache__ EXCLUDE)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/occam)

install(EXPORT occamTargets NAMESPACE occam:: DESTINATION ${package_dir})
configure_package_config_file(cmake/occamConfig.cmake.in ${PROJECT_BINARY_DIR}/occamConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/occamConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/occamConfig.cmake ${PROJECT_BINARY_DIR}/occamConfigVersion.cmake
  DESTINATION ${package_dir})
