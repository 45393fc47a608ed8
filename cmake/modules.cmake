# How a module of src/ is declared: a static library tandem_NAME and one test program NAME_test.

# tandem_module(NAME SOURCES a.cc ... DEPENDS tandem_base ... [TESTS a_test.cc ...]
#               [TEST_DEPENDS ...] [LABEL unit])
# DEPENDS become public; a module with no sources is not allowed.
function(tandem_module name)
  cmake_parse_arguments(ARG "" "LABEL" "SOURCES;DEPENDS;TESTS;TEST_DEPENDS" ${ARGN})
  add_library(tandem_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(tandem_${name} PUBLIC tandem_options ${ARG_DEPENDS})
  if(TANDEM_TESTS AND ARG_TESTS)
    tandem_test(${name}_test SOURCES ${ARG_TESTS} DEPENDS tandem_${name} ${ARG_TEST_DEPENDS}
                LABEL ${ARG_LABEL})
  endif()
endfunction()

# tandem_test(NAME SOURCES ... DEPENDS ... [LABEL unit|vulkan|npu-emu|npu-hw|slow])
# One CTest entry per program, run from the project's root.
function(tandem_test name)
  cmake_parse_arguments(ARG "" "LABEL" "SOURCES;DEPENDS" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT 600)
endfunction()
