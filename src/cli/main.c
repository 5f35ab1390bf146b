/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
int main(void) {
    puts("o3 " O3_VERSION);
    return 0;
}
