# Pipelines, here-documents, substitutions, redirections.
printf '%s\n' c b a | sort | tr a-z A-Z
seq 1 20000 | awk '{ s += $1 } END { print s }'
yes | head -n 3 | wc -l
false | true; echo "status $?"
true | (exit 9); echo "status $?"
! true; echo "status $?"
cat <<END
one $((1 + 2)) $(echo inner | sed s/inner/outer/)
END
cat <<'END' | while read -r line; do echo "[$line]"; done
not $expanded
  indented
END
x=$(cat </dev/null; echo; echo body; echo); echo "<$x>"
echo out; echo err >&2
{ echo 1; echo 2 >&2; } 2>&1 | cat -n
(echo sub; exit 4); echo "status $?"
exec 3>file 4<&0; echo to-file >&3; exec 3>&-; cat file; exec 4<&-
mkfifo fifo; (echo through >fifo &) ; cat fifo; rm fifo
head -c 300000 /dev/zero | tr '\0' x | wc -c
dd if=/dev/zero bs=65536 count=64 2>/dev/null | cat | cat | cat | md5sum
