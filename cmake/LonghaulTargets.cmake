# Targets follow the folders, so that an include against the arrows of the house does not link.

add_library(longhaul_warnings INTERFACE)
target_compile_options(longhaul_warnings INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wconversion;-Werror>"
  # clang reports what libstdc++ 12 does inside std::stable_sort.
  "$<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-deprecated-declarations>")

# longhaul_library(NAME SOURCES... DEPENDS TARGETS...): a static library of one folder.
function(longhaul_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
  if(ARG_UNPARSED_ARGUMENTS)
    add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
    target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
    target_link_libraries(${name} PUBLIC ${ARG_DEPENDS} PRIVATE longhaul_warnings)
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${PROJECT_SOURCE_DIR})
    target_link_libraries(${name} INTERFACE ${ARG_DEPENDS})
  endif()
endfunction()

# longhaul_program(NAME SOURCES... DEPENDS TARGETS...): an executable.
function(longhaul_program name)
  cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} longhaul_warnings)
endfunction()

# longhaul_test(NAME SOURCES... DEPENDS TARGETS... [LABELS LABELS...] [SHARDS N]): a GoogleTest program, one CTest entry; with
# SHARDS N entries, each of which runs its share of the cases.
# Labels: `unit` (the default; also run under the address sanitizer), `threads` (also under the thread sanitizer), `model`
# (needs the default model and some seconds). The target tests_LABEL builds all tests of a label.
# An entry takes at most 40 s alone on two cores, 200 s with a sanitizer, and may take ten times that: a machine is seldom
# idle.
function(longhaul_test name)
  cmake_parse_arguments(ARG "" "SHARDS" "DEPENDS;LABELS" ${ARGN})
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} longhaul_warnings GTest::gmock_main)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  set(timeout 400)
  if(LONGHAUL_SANITIZE)
    target_compile_options(${name} PRIVATE -fno-sanitize=undefined)  # in what is tested, not in the test: half the time
    set(timeout 2000)
  endif()
  if(ARG_SHARDS)
    foreach(shard RANGE 1 ${ARG_SHARDS})
      math(EXPR index "${shard} - 1")
      add_test(NAME ${name}_${shard} COMMAND ${name})
      set_tests_properties(${name}_${shard} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${timeout}
        ENVIRONMENT "GTEST_TOTAL_SHARDS=${ARG_SHARDS};GTEST_SHARD_INDEX=${index}")
    endforeach()
  else()
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${timeout})
  endif()
  foreach(label IN LISTS ARG_LABELS)
    if(NOT TARGET tests_${label})
      add_custom_target(tests_${label})
    endif()
    add_dependencies(tests_${label} ${name})
  endforeach()
endfunction()
