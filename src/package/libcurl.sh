#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Rebuilds libcurl from this Debian release's source package, security patches included, with HTTP and GnuTLS only: the
# same soname and symbol versions as libcurl3-gnutls, which it replaces, but none of the 20 libraries that come with that.
#
#   libcurl.sh FOLDER     leaves FOLDER/libcurl-gnutls.so.4 and FOLDER/copyright; what is there and current stays
#
# Needs: dpkg-dev autoconf automake libtool pkg-config make gcc libgnutls28-dev. Root is not needed.
set -eu

packages="dpkg-dev autoconf automake libtool pkg-config make gcc libc6-dev libgnutls28-dev"

die() {
    echo "libcurl.sh: $*" >&2
    exit 1
}

# An apt of its own that knows source packages, of the sources that the system's apt is set up with.
private_apt() {
    mkdir -p "$work/sources" "$work/lists/partial" "$work/cache"
    for list in /etc/apt/sources.list.d/*.sources; do
        [ -e "$list" ] || continue
        grep -q debian "$list" || continue
        sed 's/^Types:.*/Types: deb-src/' "$list" >"$work/sources/${list##*/}"
    done
    if [ -e /etc/apt/sources.list ]; then
        sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >"$work/sources/main.list"
    fi
    apt_options="-q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=$work/sources
        -o Dir::State::Lists=$work/lists -o Dir::Cache=$work/cache -o APT::Sandbox::User=root"
    # shellcheck disable=SC2086  # options are words
    apt-get $apt_options update >"$work/apt.log" 2>&1 || die "apt-get update failed: $(tail -n 3 "$work/apt.log")"
}

fetch() {
    # shellcheck disable=SC2086
    (cd "$work" && apt-get $apt_options source --download-only --only-source "curl=$version") >>"$work/apt.log" 2>&1 ||
        die "the source package cannot be had: $(tail -n 3 "$work/apt.log")"
    dpkg-source --no-check -x "$work"/curl_*.dsc "$work/source" >"$work/unpack.log" 2>&1 || die "$(tail -n 3 "$work/unpack.log")"
    # The package builds three flavours; the patch on top of the series makes the last one, of NSS.
    (cd "$work/source" && patch -p1 -R -s <debian/patches/99_nss.patch)
}

configure() {
    off="ftp file ldap ldaps rtsp dict telnet tftp pop3 imap smb smtp gopher mqtt manual ntlm alt-svc hsts doh netrc cookies
        ares sspi tls-srp libcurl-option get-easy-options aws unix-sockets mime static dependency-tracking"
    without="zlib brotli zstd libpsl librtmp libssh2 libssh nghttp2 libidn2 gssapi ssl-v2 hyper ca-path"
    set --
    for name in $off; do set -- "$@" "--disable-$name"; done
    for name in $without; do set -- "$@" "--without-$name"; done
    cd "$work/source"
    ./buildconf
    ./configure "$@" --with-gnutls --with-ca-bundle=/etc/ssl/certs/ca-certificates.crt --enable-versioned-symbols \
        --enable-symbol-hiding --enable-threaded-resolver --enable-ipv6 \
        CFLAGS="$(dpkg-buildflags --get CFLAGS) -Os -ffile-prefix-map=$work=." \
        CPPFLAGS="$(dpkg-buildflags --get CPPFLAGS) -DCURL_PATCHSTAMP='\"$version\"'" \
        LDFLAGS="$(dpkg-buildflags --get LDFLAGS) -Wl,-z,now -Wl,-z,defs -Wl,--as-needed"
}

[ $# = 1 ] || die "usage: libcurl.sh FOLDER"
mkdir -p "$1"
target=$(cd "$1" && pwd)
version=$(apt-cache show --no-all-versions libcurl3-gnutls | sed -n 's/^Version: //p')
[ -n "$version" ] || die "no package libcurl3-gnutls here: apt-get update first, on Debian"
wanted="$version $(sha256sum "$0" | cut -d ' ' -f 1)"
[ -e "$target/made-of" ] && [ "$(cat "$target/made-of")" = "$wanted" ] && exit 0

for package in $packages; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -q '^installed' || die "missing: the Debian package $package"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
private_apt
fetch
(configure) >"$work/configure.log" 2>&1 || die "configure failed: $(tail -n 20 "$work/configure.log")"
make -C "$work/source/lib" -s -j "$(nproc)" >"$work/make.log" 2>&1 || die "the build failed: $(tail -n 20 "$work/make.log")"
cp "$work/source/lib/.libs/libcurl-gnutls.so.4" "$target/libcurl-gnutls.so.4.new"
strip --strip-unneeded "$target/libcurl-gnutls.so.4.new"
mv "$target/libcurl-gnutls.so.4.new" "$target/libcurl-gnutls.so.4"
cp "$work/source/debian/copyright" "$target/copyright"
echo "$wanted" >"$target/made-of"
