#!/usr/bin/env bash
# krew.sh PROGRAM FOLDER VERSION [URL]: packs the program, and writes the manifest by which krew installs it. Try it with
#   kubectl krew install --manifest=FOLDER/jct.yaml --archive=FOLDER/kubectl-jct-linux-amd64.tar.gz
set -euo pipefail
program="$1" folder="$2" version="$3" url="${4:-https://releases.example.org/jct}"
archive=kubectl-jct-linux-amd64.tar.gz
root="$(cd "$(dirname "$0")/.." && pwd)"
mkdir -p "$folder"
staged="$(mktemp -d)"
trap 'rm -rf "$staged"' EXIT
install -m 0755 "$program" "$staged/kubectl-jct"
install -m 0644 "$root/LICENSE" "$staged/LICENSE"
# The same bytes for the same program.
tar -C "$staged" --owner=0 --group=0 --sort=name --mtime=@0 -c LICENSE kubectl-jct | gzip -n >"$folder/$archive"
cat >"$folder/jct.yaml" <<END
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: jct
spec:
  version: v${version#v}
  shortDescription: Ask for Tasks of JCT and read what they made
  description: |
    Asks for Tasks of JCT, the control tower for AI-assisted development work on Kubernetes, follows them, and shows
    reports, changes, logs and the story of each, as the person of the kubeconfig. Nothing has to be exposed.
  caveats: |
    Needs JCT in the cluster, and the role view or edit in the namespace of the Tasks.
  platforms:
    - selector: { matchLabels: { os: linux, arch: amd64 } }
      uri: $url/$archive
      sha256: $(sha256sum "$folder/$archive" | cut -d' ' -f1)
      files:
        - { from: kubectl-jct, to: . }
        - { from: LICENSE, to: . }
      bin: kubectl-jct
END
echo "$folder/jct.yaml"
