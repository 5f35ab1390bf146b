/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CONF_WEB_H
#define O3_CONF_WEB_H
/* What the files of the web configuration share. */
#include "o3/web_config.h"

/* web_check.c: what one key alone cannot show. Sets has_tls. */
O3_MUST_CHECK int o3_web_check_together(struct o3_web_config *c, struct o3_err *e);

#endif
