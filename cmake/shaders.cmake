# GLSL -> SPIR-V -> validated -> embedded C++ array. src/vulkan/shaders/variants.cmake lists modules.

find_program(TANDEM_GLSLC glslc REQUIRED)
find_program(TANDEM_SPIRV_VAL spirv-val REQUIRED)

set(TANDEM_SHADER_SOURCE ${CMAKE_SOURCE_DIR}/src/vulkan/shaders)
set(TANDEM_SHADER_OUTPUT ${CMAKE_BINARY_DIR}/shaders)
set(TANDEM_SHADER_NAMES "")
set(TANDEM_SHADER_FILES "")

# tandem_shader(NAME SOURCE file.comp [DEFINES A B=1 ...] [PREBUILT])
# PREBUILT modules need a compiler newer than Debian 12's: shaders/prebuilt/NAME.spv is embedded as
# committed (tools/rebuild_shaders makes it).
macro(tandem_shader name)
  cmake_parse_arguments(ARG "PREBUILT" "SOURCE" "DEFINES" ${ARGN})
  set(array ${TANDEM_SHADER_OUTPUT}/${name}.inc)
  if(ARG_PREBUILT)
    set(module ${TANDEM_SHADER_SOURCE}/prebuilt/${name}.spv)
  else()
    set(module ${TANDEM_SHADER_OUTPUT}/${name}.spv)
    list(TRANSFORM ARG_DEFINES PREPEND -D OUTPUT_VARIABLE defines)
    add_custom_command(
      OUTPUT ${module}
      COMMAND ${TANDEM_GLSLC} --target-env=vulkan1.3 -O -MD -MF ${module}.d -MT ${module}
              -I ${TANDEM_SHADER_SOURCE}/include ${defines}
              -o ${module} ${TANDEM_SHADER_SOURCE}/${ARG_SOURCE}
      COMMAND ${TANDEM_SPIRV_VAL} --target-env vulkan1.3 --scalar-block-layout ${module}
      DEPENDS ${TANDEM_SHADER_SOURCE}/${ARG_SOURCE}
      DEPFILE ${module}.d
      COMMENT "Compiling shader ${name}" VERBATIM)
  endif()
  add_custom_command(
    OUTPUT ${array}
    COMMAND ${CMAKE_COMMAND} -DMODULE=${module} -DARRAY=${array}
            -P ${CMAKE_SOURCE_DIR}/cmake/embed_spirv.cmake
    DEPENDS ${module} ${CMAKE_SOURCE_DIR}/cmake/embed_spirv.cmake VERBATIM)
  list(APPEND TANDEM_SHADER_NAMES ${name})
  list(APPEND TANDEM_SHADER_FILES ${array})
endmacro()

file(MAKE_DIRECTORY ${TANDEM_SHADER_OUTPUT})
include(${TANDEM_SHADER_SOURCE}/variants.cmake)

# The table that shader_modules.cc includes.
set(arrays "")
set(rows "")
foreach(name ${TANDEM_SHADER_NAMES})
  string(APPEND arrays "constexpr uint32_t k_${name}[] = {\n#include \"shaders/${name}.inc\"\n};\n")
  string(APPEND rows "    ShaderModule{\"${name}\", k_${name}},\n")
endforeach()
file(CONFIGURE OUTPUT ${TANDEM_SHADER_OUTPUT}/modules.inc @ONLY
  CONTENT "${arrays}constexpr ShaderModule kModules[] = {\n${rows}};\n")
