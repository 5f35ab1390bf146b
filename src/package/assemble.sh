#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts the files of the container image into a folder: the program, exactly the shared libraries that it needs, their
# licences, the certificates of public authorities and a user. No shell, no package manager. Used by the Dockerfile and
# by the tests, so that the two cannot differ.
#
#   assemble.sh BINARY LIBCURL_FOLDER ROOT     LIBCURL_FOLDER: what libcurl.sh made; ROOT: a new folder
#
# Run as root the state folder belongs to the image's user.
set -eu

user=65532
here=$(cd "$(dirname "$0")" && pwd)

die() {
    echo "assemble.sh: $*" >&2
    exit 1
}

[ $# = 3 ] || die "usage: assemble.sh BINARY LIBCURL_FOLDER ROOT"
binary=$1
libcurl=$(cd "$2" && pwd)
[ -x "$binary" ] || die "no program: $binary"
[ -e "$libcurl/libcurl-gnutls.so.4" ] || die "no libcurl-gnutls.so.4 in $libcurl: run libcurl.sh first"
[ ! -e "$3" ] || die "$3 exists"
umask 022
mkdir -p "$3"
root=$(cd "$3" && pwd)
curl_version=$(cut -d ' ' -f 1 "$libcurl/made-of")

# "NAME PATH" of each library and, with its path twice, of the loader.
libraries() {
    LD_LIBRARY_PATH=$libcurl ldd "$binary" | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 } $1 ~ /^\// { print $1, $1 }'
}

check_symbols() {
    missing=$(LD_LIBRARY_PATH=$libcurl ldd -r "$binary" 2>&1 | grep -E 'not found|undefined symbol' || true)
    [ -z "$missing" ] || die "$missing"
}

# Debian's bookkeeping of a package, in the form that scanners of images without a package manager read.
record_package() {
    mkdir -p "$root/var/lib/dpkg/status.d" "$root/usr/share/doc/$1"
    if [ "$1" = libcurl3-gnutls ]; then
        cp "$libcurl/copyright" "$root/usr/share/doc/$1/copyright"
        printf 'Package: %s\nVersion: %s\nSource: curl\nArchitecture: %s\nStatus: install ok installed\nDescription: %s\n' \
            "$1" "$curl_version" "$(dpkg --print-architecture)" "libcurl, rebuilt with HTTP and GnuTLS only" \
            >"$root/var/lib/dpkg/status.d/$1"
        return
    fi
    cp -L "/usr/share/doc/$1/copyright" "$root/usr/share/doc/$1/copyright" 2>/dev/null || die "no copyright file of $1"
    dpkg-query -W -f 'Package: ${Package}\nVersion: ${Version}\nSource: ${source:Package}\nArchitecture: ${Architecture}\nStatus: install ok installed\nDescription: ${binary:Summary}\n' \
        "$1" >"$root/var/lib/dpkg/status.d/$1"
}

# The package that a file came with; /lib may be a link to /usr/lib, and the package may know either name.
package_of() {
    case $1 in "$libcurl"/*) echo libcurl3-gnutls && return ;; esac
    plain=${1#/usr}
    found=$(dpkg -S "$plain" 2>/dev/null || dpkg -S "/usr$plain" 2>/dev/null) || die "no package owns $1"
    echo "${found%%:*}"
}

add_libraries() {
    mkdir -p "$root/usr/lib"
    ln -s usr/lib "$root/lib"
    libraries | while read -r name path; do
        real=$(readlink -f "$path")
        case $name in
        /lib64/*) # the loader, by the name that stands in the program
            mkdir -p "$root/usr/lib64"
            [ -e "$root/lib64" ] || ln -s usr/lib64 "$root/lib64"
            cp "$real" "$root/usr$name"
            ;;
        /*) cp "$real" "$root/usr/lib/${name##*/}" ;;
        *)
            folder=$root/usr/lib/$(multiarch)
            mkdir -p "$folder"
            cp "$real" "$folder/$name"
            ;;
        esac
        record_package "$(package_of "$path")"
    done
}

multiarch() {
    dpkg-architecture -q DEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch
}

add_files() {
    mkdir -p "$root/usr/bin" "$root/etc/o3" "$root/etc/ssl/certs" "$root/tmp" "$root/var/lib/o3" \
        "$root/usr/share/doc/o3-sidecar" "$root/dev" "$root/proc" "$root/sys"
    chmod 1777 "$root/tmp"
    cp "$binary" "$root/usr/bin/o3"
    strip --strip-unneeded "$root/usr/bin/o3"
    cp "$here/image.yaml" "$root/etc/o3/o3.yaml"
    cp "$here/../../LICENSE" "$root/usr/share/doc/o3-sidecar/copyright"
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    record_package ca-certificates
    printf 'root:x:0:0:root:/:/sbin/nologin\no3:x:%s:%s:O3 Sidecar:/var/lib/o3:/sbin/nologin\n' $user $user >"$root/etc/passwd"
    printf 'root:x:0:\no3:x:%s:\n' $user >"$root/etc/group"
    printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
}

# The texts that the licences above refer to.
add_common_licences() {
    mkdir -p "$root/usr/share/common-licenses"
    cat "$root"/usr/share/doc/*/copyright | grep -o '/usr/share/common-licenses/[A-Za-z0-9-]*[0-9]\(\.[0-9]\)*' | sort -u | while read -r path; do
        [ ! -e "$path" ] || cp -L "$path" "$root$path"
    done
}

check_symbols
add_libraries
add_files
add_common_licences
find "$root" -type f -name '*.so*' -exec chmod 755 {} +
# The same inputs give the same bytes, whenever they are put together.
find "$root" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
if [ "$(id -u)" = 0 ]; then chown -R $user:$user "$root/var/lib/o3"; fi
