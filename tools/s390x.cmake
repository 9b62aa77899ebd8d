# SPDX-License-Identifier: MIT
# Cross build for a big-endian host, s390x, with Debian's gcc-s390x-linux-gnu.
set(CMAKE_SYSTEM_PROCESSOR s390x)
set(UV_TRIPLE s390x-linux-gnu)
set(UV_DEBIAN_ARCH s390x)
include(${CMAKE_CURRENT_LIST_DIR}/cross.cmake)
