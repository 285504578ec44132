#!/bin/sh
# SPDX-License-Identifier: MIT
#
# deps.sh demo|test|lint|valgrind|fuzz|all: makes sure that what a make target
# needs is there.  Looks for commands and headers first; only what is missing
# is installed, with apt-get, as root or through a sudo that asks nothing.
# Anywhere else it names the packages and stops.  Knows Debian's names.

set -u
PATH=$PATH:/usr/sbin:/sbin
what=${1:-all}
missing=

# need PACKAGE TEST...: the package is missing when the test fails.
need() {
  package=$1
  shift
  "$@" >/dev/null 2>&1 || missing="$missing $package"
}
has() { command -v "$1"; }
header() {
  printf '#include <%s>\n' "$1" |
    "${CC:-cc}" -I/usr/include/lua5.4 ${LUA_INCDIR:+-I"$LUA_INCDIR"} -E -
}
lua_has() { lua5.4 -e "require '$1'"; }

build() {
  need gcc has "${CC:-cc}"
  need libc6-dev header stdio.h
  need make has make
  need lua5.4 has lua5.4
  need liblua5.4-dev header lauxlib.h
}
demo() {
  need 7zip has 7zz
  need qemu-utils has qemu-img
  need e2fsprogs has mke2fs
}
tests() {
  demo
  need lua-busted lua_has busted.core
  need lua-argparse lua_has argparse
  need lua-busted has busted
  need lua-cqueues lua_has cqueues
  need lua-luv lua_has luv
  need lua-event lua_has luaevent.core
  need lua-socket lua_has socket
  need lua-copas test -e /usr/share/lua/5.2/copas.lua
  need luarocks has luarocks
  need libvhdi-utils has vhdiinfo
  need qemu-utils has qemu-nbd
  need mtools has mcopy
  need dosfstools has mkfs.vfat
  need xfsprogs has mkfs.xfs
  need btrfs-progs has mkfs.btrfs
  need ntfs-3g has ntfs-3g
  need luajit has luajit
  need pkg-config has pkg-config
  need g++ has g++
  need strace has strace
  need bsdutils has script
  need util-linux has setarch
  need util-linux has unshare
  need mount has mount
}
lint() {
  need lua-check has luacheck
  need clang has clang
  need cppcheck has cppcheck
}
fuzz() {
  need clang has clang
  need llvm has llvm-cov
}

build
case $what in
  demo) demo ;;
  test) tests ;;
  lint) lint ;;
  valgrind) need valgrind has valgrind ;;
  fuzz) fuzz ;;
  all)
    tests
    lint
    need valgrind has valgrind
    ;;
  *)
    echo "usage: deps.sh demo|test|lint|valgrind|fuzz|all" >&2
    exit 2
    ;;
esac

[ -n "$missing" ] || exit 0
# shellcheck disable=SC2086  # a list of words
missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
missing=${missing% }

as_root=
if [ "$(id -u)" != 0 ]; then
  as_root='sudo -n'
  sudo -n true 2>/dev/null || as_root=no
fi
if [ "$as_root" = no ] || ! has apt-get >/dev/null; then
  echo "missing here; the names are those of Debian's packages:" >&2
  echo "  apt-get install --no-install-recommends $missing" >&2
  exit 1
fi

echo "installing: $missing"
# shellcheck disable=SC2086
$as_root apt-get update -qq &&
  $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing
