# SPDX-License-Identifier: MIT
# What the toolchain files have in common: Debian's cross compiler UV_TRIPLE-gcc, libraries from UV_SYSROOT (a folder
# into which tools/cross-sysroot unpacked the packages of UV_DEBIAN_ARCH; done here when it is not there yet), and
# QEMU's user-mode emulation to run the tests.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_C_COMPILER ${UV_TRIPLE}-gcc)
set(CMAKE_ASM_COMPILER ${UV_TRIPLE}-gcc)
set(CMAKE_AR ${UV_TRIPLE}-ar CACHE STRING "")
set(CMAKE_RANLIB ${UV_TRIPLE}-ranlib CACHE STRING "")

set(UV_SYSROOT ${CMAKE_CURRENT_LIST_DIR}/../build/sysroot-${UV_DEBIAN_ARCH} CACHE PATH "unpacked foreign packages")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES UV_SYSROOT)
execute_process(COMMAND ${CMAKE_CURRENT_LIST_DIR}/cross-sysroot ${UV_DEBIAN_ARCH} ${UV_SYSROOT}
                COMMAND_ERROR_IS_FATAL ANY)
get_filename_component(sysroot ${UV_SYSROOT} ABSOLUTE)
set(ENV{PKG_CONFIG_LIBDIR} ${sysroot}/usr/lib/${UV_TRIPLE}/pkgconfig:${sysroot}/usr/share/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${sysroot})
# The programs that run during the build (the guests' assembler) are this machine's.
set(CMAKE_FIND_ROOT_PATH ${sysroot} /usr/${UV_TRIPLE})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)

set(libraries ${sysroot}/usr/lib/${UV_TRIPLE})
set(CMAKE_C_FLAGS_INIT "-isystem ${sysroot}/usr/include/${UV_TRIPLE}")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-Wl,-rpath-link,${libraries}")
set(CMAKE_SHARED_LINKER_FLAGS_INIT "-Wl,-rpath-link,${libraries}")
set(CMAKE_CROSSCOMPILING_EMULATOR
    qemu-${CMAKE_SYSTEM_PROCESSOR}-static;-L;/usr/${UV_TRIPLE};-E;LD_LIBRARY_PATH=${libraries})
