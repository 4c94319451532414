# published_json.hpp: experiments/published.json, compiled in, so that a binary never looks for it.
set(published ${PROJECT_SOURCE_DIR}/experiments/published.json)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${published})
file(READ ${published} OCCAM_PUBLISHED_JSON)
configure_file(${PROJECT_SOURCE_DIR}/cmake/published_json.hpp.in ${PROJECT_BINARY_DIR}/generated/published_json.hpp @ONLY)
