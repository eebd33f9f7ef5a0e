# LONGHAUL_CUDA=AUTO|ON|OFF -> LONGHAUL_HAVE_CUDA, and a line that says what was found.

set(LONGHAUL_HAVE_CUDA OFF)
if(NOT LONGHAUL_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES "80;90a;100")
    endif()
    set(CMAKE_CUDA_STANDARD 17)  # CMake 3.25 knows no C++20 for this nvcc
    enable_language(CUDA)
    find_package(CUDAToolkit REQUIRED)
    set(LONGHAUL_HAVE_CUDA ON)
    message(STATUS "Longhaul: CUDA toolkit ${CUDAToolkit_VERSION} found, the CUDA backend is built")
  elseif(LONGHAUL_CUDA STREQUAL "ON")
    message(FATAL_ERROR "LONGHAUL_CUDA=ON, but no CUDA compiler was found: install the CUDA toolkit and put nvcc on "
                        "PATH, or configure with -DLONGHAUL_CUDA=OFF")
  else()
    message(STATUS "Longhaul: no CUDA toolkit found, the CPU backend alone is built")
  endif()
else()
  message(STATUS "Longhaul: LONGHAUL_CUDA=OFF, the CPU backend alone is built")
endif()
