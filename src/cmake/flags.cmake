# SPDX-License-Identifier: Apache-2.0
# Warnings, hardening and reproducibility, as one interface target.
include(CheckCCompilerFlag)
add_library(o3_flags INTERFACE)
target_compile_definitions(o3_flags INTERFACE _GNU_SOURCE)

set(O3_WARNINGS
    -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Wformat-signedness -Wstrict-prototypes -Wmissing-prototypes
    -Wwrite-strings -Wcast-qual -Wvla -Walloca -Wundef -Wnull-dereference -Wdouble-promotion -Wswitch-enum
    -Wimplicit-fallthrough -Wduplicated-cond -Wlogical-op -Wjump-misses-init -Wframe-larger-than=16384)
foreach(flag IN LISTS O3_WARNINGS)
    string(MAKE_C_IDENTIFIER "HAS${flag}" has)
    check_c_compiler_flag(${flag} ${has})
    if(${has})
        target_compile_options(o3_flags INTERFACE ${flag})
    endif()
endforeach()
# clang counts NAN and INFINITY, which C17 makes floats, as promotions.
if(CMAKE_C_COMPILER_ID MATCHES Clang)
    target_compile_options(o3_flags INTERFACE -Wno-double-promotion)
endif()
if(O3_WERROR)
    target_compile_options(o3_flags INTERFACE -Werror)
endif()

# Same bits on every machine: no fused multiply-add, no build paths, no build time.
target_compile_options(o3_flags INTERFACE -ffp-contract=off -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -fno-common)
target_compile_options(o3_flags INTERFACE $<$<CONFIG:Release>:-g1>)
if(O3_SANITIZE)
    target_compile_options(o3_flags INTERFACE -fsanitize=${O3_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(o3_flags INTERFACE -fsanitize=${O3_SANITIZE})
else()
    target_compile_options(o3_flags INTERFACE
        $<$<CONFIG:Release>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection>
        $<$<CONFIG:Release>:-ftrivial-auto-var-init=zero>)
    check_c_compiler_flag(-fcf-protection=full HAS_CF_PROTECTION)
    if(HAS_CF_PROTECTION)
        target_compile_options(o3_flags INTERFACE $<$<CONFIG:Release>:-fcf-protection=full>)
    endif()
endif()
target_compile_options(o3_flags INTERFACE -fPIE)
target_link_options(o3_flags INTERFACE -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed)
set(CMAKE_C_FLAGS_RELEASE "-O2")
