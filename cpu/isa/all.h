/* SPDX-License-Identifier: MIT */
/* Every group of instruction rows, once for each meaning of INSN(). Order matters only between rows that
 * match the same bytes: the first legal one wins. No include guard. */
#if __has_include("cpu/isa/integer.def")
#include "cpu/isa/integer.def"
#endif
#if __has_include("cpu/isa/system.def")
#include "cpu/isa/system.def"
#endif
#if __has_include("cpu/isa/control.def")
#include "cpu/isa/control.def"
#endif
#if __has_include("cpu/isa/string.def")
#include "cpu/isa/string.def"
#endif
#if __has_include("cpu/isa/x87.def")
#include "cpu/isa/x87.def"
#endif
#if __has_include("cpu/isa/ssefp.def")
#include "cpu/isa/ssefp.def"
#endif
#if __has_include("cpu/isa/sseint.def")
#include "cpu/isa/sseint.def"
#endif
#if __has_include("cpu/isa/xsave.def")
#include "cpu/isa/xsave.def"
#endif
#if __has_include("cpu/isa/virt.def")
#include "cpu/isa/virt.def"
#endif
