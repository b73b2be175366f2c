# The CUDA backend is built where there is a compiler for it. Sets EDGELLM_HAS_CUDA.
#
# EDGELLM_CUDA_ARCHITECTURES: what machine code is made for. Two of the six by default, which is what a check of a change needs;
# the release preset names all. PTX of the last one serves later devices.

set(EDGELLM_CUDA_ARCHITECTURES "80;90a" CACHE STRING "Compute capabilities to compile for")
set(EDGELLM_HAS_CUDA OFF)
if(EDGELLM_CUDA STREQUAL "OFF" OR EDGELLM_SANITIZE OR CMAKE_CROSSCOMPILING)
  return()
endif()

include(CheckLanguage)
# nvcc is seldom on the path of those who have it.
find_program(EDGELLM_NVCC nvcc HINTS ENV CUDA_PATH PATHS /usr/local/cuda/bin)
if(EDGELLM_NVCC AND NOT CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER ${EDGELLM_NVCC})
endif()
set(CMAKE_CUDA_ARCHITECTURES ${EDGELLM_CUDA_ARCHITECTURES})
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(EDGELLM_CUDA STREQUAL "ON")
    message(FATAL_ERROR "EDGELLM_CUDA is ON, but there is no CUDA compiler")
  endif()
  return()
endif()
if(CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")  # CMake 3.25 does not know that nvcc has it
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(EDGELLM_HAS_CUDA ON)
