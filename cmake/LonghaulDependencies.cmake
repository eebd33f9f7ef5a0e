# Everything comes from the distribution; nothing is downloaded here. deploy/install_dependencies.sh installs it.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(absl CONFIG REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(spdlog CONFIG REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
find_path(LONGHAUL_XXHASH xxhash.h REQUIRED)  # only the header: it is compiled in

if(LONGHAUL_BUILD_SERVER)
  find_package(Protobuf REQUIRED)  # MODULE mode, and before gRPC
  find_package(gRPC CONFIG REQUIRED)
  find_package(CLI11 CONFIG REQUIRED)
  find_package(nlohmann_json CONFIG REQUIRED)
  find_package(prometheus-cpp CONFIG REQUIRED)
  pkg_check_modules(JEMALLOC REQUIRED IMPORTED_TARGET jemalloc)
  pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
  pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2)
endif()
if(LONGHAUL_BUILD_TESTS)
  find_package(GTest CONFIG REQUIRED)
  find_package(nlohmann_json CONFIG REQUIRED)
endif()
if(LONGHAUL_BUILD_BENCHMARKS)
  find_package(benchmark CONFIG REQUIRED)
endif()
