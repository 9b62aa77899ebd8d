# SPDX-License-Identifier: MIT
# Cross build for arm64 with Debian's gcc-aarch64-linux-gnu; foreign libraries (libxxhash, libcapstone) are
# looked for in UV_SYSROOT, a folder into which their arm64 packages were unpacked (tools/arm64-sysroot).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_ASM_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static;-L;/usr/aarch64-linux-gnu)
