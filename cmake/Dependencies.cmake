# Everything from outside, each behind one interface target.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(ZLIB REQUIRED)
pkg_check_modules(DPDK REQUIRED libdpdk>=22.11)
pkg_check_modules(LIBCONFIG REQUIRED IMPORTED_TARGET libconfig)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
# IPFIX messages are encoded by libfixbuf; its connections are lsnd's own, as those of syslog, with
# OpenSSL's TLS.
pkg_check_modules(FIXBUF REQUIRED IMPORTED_TARGET libfixbuf)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl)
pkg_check_modules(LIBEDIT REQUIRED IMPORTED_TARGET libedit)
pkg_check_modules(LIBPCAP REQUIRED IMPORTED_TARGET libpcap)
pkg_check_modules(LIBNL REQUIRED IMPORTED_TARGET libnl-route-3.0)
# Its text format only: the HTTP server is lsnd's own (control/metrics/http_server.hpp).
pkg_check_modules(PROMETHEUS REQUIRED IMPORTED_TARGET prometheus-cpp-core)

# DPDK: headers as SYSTEM (they warn under C++20), and without the -march that its .pc file carries:
# it would override lsnd's own, silently (docs/performance.md).
set(dpdk_options ${DPDK_CFLAGS_OTHER})
list(FILTER dpdk_options EXCLUDE REGEX "^-march=|^-mcpu=")
add_library(lsn_dpdk INTERFACE)
target_include_directories(lsn_dpdk SYSTEM INTERFACE ${DPDK_INCLUDE_DIRS})
target_compile_options(lsn_dpdk INTERFACE "SHELL:-include rte_config.h")
target_link_libraries(lsn_dpdk INTERFACE ${DPDK_LINK_LIBRARIES} Threads::Threads)

add_library(lsn_control_libs INTERFACE)
target_link_libraries(lsn_control_libs INTERFACE PkgConfig::LIBCONFIG PkgConfig::SYSTEMD
                      PkgConfig::PROMETHEUS PkgConfig::ZSTD PkgConfig::FIXBUF PkgConfig::OPENSSL
                      fmt::fmt spdlog::spdlog nlohmann_json::nlohmann_json CLI11::CLI11 ZLIB::ZLIB
                      Threads::Threads)
# fmt 9's fill characters under gcc 12's flow analysis at -O3: a warning about a case that cannot
# happen.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(lsn_control_libs INTERFACE -Wno-stringop-overflow)
endif()
