# Helpers of the build: one static library a folder of src/, one test program a folder of tests/.

add_library(edgellm_flags INTERFACE)
# No contraction: a*b+c is fused only where the source says so. The kernels promise the same bits on every instruction set.
target_compile_options(edgellm_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor;-ffp-contract=off>
  $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false;-lineinfo;--expt-relaxed-constexpr>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 sees overlapping copies in its own std::string (GCC bug 105329).
  target_compile_options(edgellm_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
if(EDGELLM_WERROR)
  target_compile_options(edgellm_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror> $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>)
endif()
target_include_directories(edgellm_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_definitions(edgellm_flags INTERFACE EDGELLM_VERSION="${PROJECT_VERSION}")
if(EDGELLM_SANITIZE)
  # UBSan's vptr check needs RTTI of every library linked; float division by zero is defined by IEEE 754 and used.
  target_compile_options(edgellm_flags INTERFACE -fsanitize=${EDGELLM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(edgellm_flags INTERFACE -fsanitize=${EDGELLM_SANITIZE})
  target_compile_definitions(edgellm_flags INTERFACE EDGELLM_SANITIZED)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC says so itself: with sanitizers this warning is often wrong (in the standard library's own <regex>, for one).
    target_compile_options(edgellm_flags INTERFACE -Wno-maybe-uninitialized)
  endif()
endif()
if(EDGELLM_FUZZ)
  target_compile_options(edgellm_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# edgellm_library(NAME DEPENDS libs...): the .cc files of the calling folder. The dependencies state the layer graph
# of ARCHITECTURE.md; tools/check_includes.py holds the #include lines to the same graph.
function(edgellm_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;PRIVATE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  add_library(edgellm_${name} STATIC ${sources})
  target_link_libraries(edgellm_${name} PUBLIC edgellm_flags ${ARG_DEPENDS} PRIVATE ${ARG_PRIVATE})
endfunction()

# edgellm_test(NAME DEPENDS libs...): *_test.cc of the calling folder, labelled "fast"; files named *_slow_test.cc go to a
# second program, labelled "slow".
function(edgellm_test name)
  cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
  file(GLOB all CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc)
  set(slow ${all})
  list(FILTER slow INCLUDE REGEX "_slow_test\\.cc$")
  set(fast ${all})
  list(FILTER fast EXCLUDE REGEX "_slow_test\\.cc$")
  foreach(label fast slow)
    if(${label})
      set(target ${name}_${label}_test)
      add_executable(${target} ${${label}})
      target_link_libraries(${target} PRIVATE edgellm_test_support ${ARG_DEPENDS} GTest::gtest GTest::gtest_main)
      gtest_discover_tests(${target} DISCOVERY_TIMEOUT 120 PROPERTIES LABELS ${label})
    endif()
  endforeach()
endfunction()

# edgellm_fuzz(NAME DEPENDS libs...): NAME_fuzz.cc of the calling folder as a libFuzzer program.
function(edgellm_fuzz name)
  cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
  add_executable(${name}_fuzz ${name}_fuzz.cc)
  target_link_libraries(${name}_fuzz PRIVATE edgellm_flags ${ARG_DEPENDS})
  target_link_options(${name}_fuzz PRIVATE -fsanitize=fuzzer)
endfunction()
