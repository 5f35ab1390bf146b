# SPDX-License-Identifier: Apache-2.0
# Programs that measure. Not part of `all` nor of the tests: `ninja calibrate_drift`, `ninja drift_alarms`.
file(GLOB O3_BENCH_SOURCES CONFIGURE_DEPENDS tests/bench/*.c)
foreach(source IN LISTS O3_BENCH_SOURCES)
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} EXCLUDE_FROM_ALL ${source})
    target_include_directories(${name} PRIVATE src)
    target_link_libraries(${name} PRIVATE o3core)
endforeach()
