#!/bin/sh
# A tiny agent without a model: tidies text files below the Task's path, over several steps that its trace shows.
# Needs nothing but a POSIX shell, find, grep and sed: busybox is enough.
set -eu

step() { echo "::step::$*"; }

step "Reading the objective"
echo "Objective: $JCT_OBJECTIVE"
cd "$JCT_WORKSPACE/$JCT_TARGET_PATH"

step "Looking for text files with blanks at line ends"
find . -name .git -prune -o -type f \( -name '*.md' -o -name '*.txt' \) -print | sort >"$TMPDIR/candidates"
: >"$TMPDIR/plan"
while IFS= read -r file; do
  if grep -q '[[:blank:]]$' "$file"; then echo "$file" >>"$TMPDIR/plan"; fi
done <"$TMPDIR/candidates"
count="$(grep -c . "$TMPDIR/plan" || true)"
echo "$count of $(grep -c . "$TMPDIR/candidates" || true) files need work"

{ echo "# What was tidied"; echo; } >"$JCT_OUT/report.md"
while IFS= read -r file; do
  step "Editing $file"
  lines="$(grep -c '[[:blank:]]$' "$file")"
  sed -i 's/[[:blank:]]*$//' "$file"
  echo "- \`$file\`: $lines lines" >>"$JCT_OUT/report.md"
done <"$TMPDIR/plan"

step "Checking the result"
while IFS= read -r file; do
  if grep -q '[[:blank:]]$' "$file"; then
    echo "$file still has blanks at line ends" >&2
    exit 1
  fi
done <"$TMPDIR/plan"

cat >"$JCT_RESULT_FILE" <<END
{
  "summary": "tidied $count files",
  "decision_log": ["only *.md and *.txt are looked at", "blanks at line ends are removed, nothing else"],
  "cost": {"usd": 0, "tokens": 0}
}
END
