# Compiler warnings, sanitizers, the compiler cache, the linker and the packages, as interface targets.

find_program(CCACHE ccache)
if(CCACHE)
  # Precompiled headers are cached too: clang must not stamp them with the time.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime CCACHE_NOHASHDIR=1 ${CCACHE})
endif()

add_library(cairn_flags INTERFACE)
target_compile_options(cairn_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough -Wunused -Werror=return-type
  -Wno-missing-field-initializers -Wno-missing-designated-field-initializers
  -fno-omit-frame-pointer -Xclang -fno-pch-timestamp)
target_link_options(cairn_flags INTERFACE -fuse-ld=lld)
# The erasure and checksum libraries have AVX code of their own; ours asks for what every 64-bit x86 of the last decade has.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_options(cairn_flags INTERFACE -march=x86-64-v2)
endif()

set(CAIRN_SANITIZE "" CACHE STRING "address;undefined or thread")
if(CAIRN_SANITIZE)
  list(JOIN CAIRN_SANITIZE "," CAIRN_SANITIZE_FLAG)
  target_compile_options(cairn_flags INTERFACE -fsanitize=${CAIRN_SANITIZE_FLAG} -fno-sanitize-recover=all)
  target_link_options(cairn_flags INTERFACE -fsanitize=${CAIRN_SANITIZE_FLAG})
endif()
if(CAIRN_FUZZ)
  target_compile_options(cairn_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

find_package(Threads REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(Protobuf REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(ZLIB REQUIRED)
pkg_check_modules(CRYPTOPP REQUIRED IMPORTED_TARGET libcrypto++)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)
find_library(IPSEC_MB_LIBRARY IPSec_MB)
find_path(IPSEC_MB_INCLUDE intel-ipsec-mb.h)
find_package(leveldb REQUIRED)
find_library(ERASURECODE_LIBRARY erasurecode REQUIRED)
find_path(ERASURECODE_INCLUDE erasurecode.h PATH_SUFFIXES liberasurecode REQUIRED)
