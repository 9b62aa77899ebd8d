# SPDX-License-Identifier: MIT
# Cross build for arm64 with Debian's gcc-aarch64-linux-gnu.
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(UV_TRIPLE aarch64-linux-gnu)
set(UV_DEBIAN_ARCH arm64)
include(${CMAKE_CURRENT_LIST_DIR}/cross.cmake)
