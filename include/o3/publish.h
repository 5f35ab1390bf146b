/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_PUBLISH_H
#define O3_PUBLISH_H
/* What may become of an attempt to publish presets, in the words of metrics and events. Pure. */

enum o3_publish_error {
    O3_PUBLISH_OK,
    O3_PUBLISH_NO_TOKEN,     /* the token or the namespace could not be read */
    O3_PUBLISH_UNREACHABLE,  /* no connection, one that broke, or not a server that the CA vouches for */
    O3_PUBLISH_TIMEOUT,      /* connected, and no whole answer in time */
    O3_PUBLISH_UNAUTHORIZED, /* 401, also with the token read again */
    O3_PUBLISH_FORBIDDEN,    /* 403: the Role is not there, or of another name */
    O3_PUBLISH_NOT_FOUND,    /* 404: no such object, it is never made by us; no such folder */
    O3_PUBLISH_CONFLICT,     /* 409, again and again */
    O3_PUBLISH_INVALID,      /* 400, 422: the server refuses the content */
    O3_PUBLISH_TOO_LARGE,    /* 413, or known before it is sent */
    O3_PUBLISH_THROTTLED,    /* 429 */
    O3_PUBLISH_SERVER_ERROR, /* 5xx */
    O3_PUBLISH_BAD_REPLY,    /* not an answer of an API server, or one of a kind that makes no sense here */
    O3_PUBLISH_IO,           /* a file could not be written, and none of these: */
    O3_PUBLISH_DISK_FULL,    /* ENOSPC, EDQUOT */
    O3_PUBLISH_READ_ONLY,    /* EROFS */
    O3_PUBLISH_DENIED,       /* EACCES, EPERM */
    O3_PUBLISH_ERROR_COUNT
};
const char *o3_publish_error_name(enum o3_publish_error e); /* "unauthorized" ...: the label `reason` */
/* Of a file or folder that could not be written. code: O3_E_; sys: errno, 0 unknown. */
enum o3_publish_error o3_publish_error_of_file(int code, int sys);

enum o3_publish_outcome {
    O3_PUBLISH_GOES_ON,    /* nothing to tell */
    O3_PUBLISH_WRITTEN,    /* what is wanted is there */
    O3_PUBLISH_UNCHANGED,  /* it was there already */
    O3_PUBLISH_NOT_WRITER, /* another pod may write */
    O3_PUBLISH_FAILED      /* tried again by itself */
};

#endif
