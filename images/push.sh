#!/usr/bin/env bash
# Pushes the images that build.sh has packed to a registry: push.sh DIR REGISTRY [OPTION…]
# as REGISTRY/jct-operator and REGISTRY/jct-worker, under the tag that they were packed with, and prints what the chart has to
# know. OPTION is one of `skopeo copy`, such as --dest-tls-verify=false. `skopeo login REGISTRY` tells a registry who you are;
# logins of docker and podman count too.
. "$(dirname "$0")/../tests/cluster/lib.sh"

main() {
  (($# >= 2)) && [[ "$1" != -* && "$2" != -* ]] || die "usage: push.sh DIR REGISTRY [OPTION of skopeo copy…]"
  local dir="$1" registry="${2%/}" image name tag work values=""
  shift 2
  [[ "$registry" != *://* ]] || die "$registry: a registry has no scheme here: registry.example/team"
  for image in operator worker; do [[ -f "$dir/$image.tar" ]] || die "$dir/$image.tar is not there: make images"; done
  "$HERE/prerequisites.sh" push
  work="$(mktemp -d)"
  trap 'rm -rf "'"$work"'"' EXIT
  for image in operator worker; do
    tag="$(tag_of "$dir/$image.tar")"
    name="$registry/jct-$image"
    step "$name:$tag" skopeo copy --quiet --digestfile "$work/digest" "$@" "docker-archive:$dir/$image.tar" "docker://$name:$tag"
    values+="$(values_of "$image" "$name" "$tag" "$(<"$work/digest")")"$'\n'
  done
  printf 'Values for the chart:\n%s' "$values"
}

# What it was packed with: nothing else is pushed under that name.
tag_of() {
  local names
  names="$(tar --no-anchored -xOf "$1" manifest.json 2>/dev/null)" || die "$1 is no docker-archive"
  [[ "$names" =~ \"RepoTags\":\ ?\[\"[^\"]*:([^:\"]+)\" ]] || die "$1 names no tag"
  echo "${BASH_REMATCH[1]}"
}

values_of() {
  local key=image
  [[ "$1" == operator ]] || key=workers.image
  printf '  --set %s.repository=%s --set %s.tag=%s --set %s.digest=%s' "$key" "$2" "$key" "$3" "$key" "$4"
}

main "$@"
