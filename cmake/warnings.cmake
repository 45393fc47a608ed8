# The warning set and the instrumentation, as one interface target that every module links.
add_library(tandem_options INTERFACE)
target_include_directories(tandem_options INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(tandem_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Werror)
if(TANDEM_SANITIZE)
  target_compile_options(tandem_options INTERFACE
    -fsanitize=${TANDEM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(tandem_options INTERFACE -fsanitize=${TANDEM_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # GCC sees overflows in instrumented code that are not there (its manual: -fsanitize).
    target_compile_options(tandem_options INTERFACE -Wno-stringop-overflow -Wno-maybe-uninitialized)
  endif()
endif()
if(TANDEM_FUZZ)
  # Only the programs of tests/fuzz link the fuzzer's own main function. The profile tells which
  # lines the inputs reach.
  target_compile_options(tandem_options INTERFACE
    -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=all
    -fprofile-instr-generate -fcoverage-mapping)
  target_link_options(tandem_options INTERFACE
    -fsanitize=address,undefined -fprofile-instr-generate)
endif()
if(TANDEM_COVERAGE)
  target_compile_options(tandem_options INTERFACE --coverage -O0)
  target_link_options(tandem_options INTERFACE --coverage)
endif()
if(TANDEM_PORTABLE)
  target_link_options(tandem_options INTERFACE -static-libstdc++ -static-libgcc)
  target_link_libraries(tandem_options INTERFACE fmt::fmt-header-only)
else()
  target_link_libraries(tandem_options INTERFACE fmt::fmt)
endif()
