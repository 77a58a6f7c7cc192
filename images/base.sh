#!/usr/bin/env bash
# Makes the worker's base image where no registry is at hand: Debian with git, without perl, documentation and servers.
# Prints the path of the archive, which is made once: base.sh
. "$(dirname "$0")/../tests/cluster/lib.sh"

# What git needs for clone, fetch, diff and commit stays. perl goes last: packages use it while they are installed.
REMOVE=(
  usr/share/{doc,man,info,locale,lintian,perl,perl5,gitweb,git-core/contrib,bash-completion}
  'usr/lib/*/'{perl,perl-base,gconv} 'usr/lib/*/libperl.so'\* usr/bin/perl\*
  usr/{bin,lib/git-core}/{scalar,git-shell} usr/lib/git-core/git-{daemon,http-backend,http-push,imap-send}
)

archive="$CACHE/images/base-$(sha256sum "$0" | cut -c1-16).tar"
if [[ ! -e "$archive" ]]; then
  become_root "$@"
  mkdir -p "$CACHE/images"
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  # shellcheck disable=SC2016 # $1 is the hook's.
  step "base image (Debian with git), once" mmdebstrap --quiet --variant=essential --include=git,ca-certificates \
    --customize-hook='cd "$1" && rm -rf '"${REMOVE[*]}" \
    --customize-hook='ln -sf ../../bin/git "$1/usr/lib/git-core/git"' \
    --customize-hook='echo "jct:x:65532:65532::/tmp:/usr/sbin/nologin" >>"$1/etc/passwd"' \
    --customize-hook='echo "jct:x:65532:" >>"$1/etc/group"' \
    bookworm "$work/layer.tar" </dev/null >&2
  image_archive "$archive" jct-base:bookworm "" "$work/layer.tar"
  give_to_caller "$CACHE/images"
fi
echo "$archive"
