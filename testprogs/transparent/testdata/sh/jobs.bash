# Job control without a terminal: groups of their own, stops that wait reports.
set -m
sleep 1000 &
kill -STOP %1
until [[ $(jobs -s | wc -l) = 1 ]]; do sleep 0.01; done
jobs | sed 's/ \+/ /g'
kill -CONT %1
until [[ $(jobs -r | wc -l) = 1 ]]; do sleep 0.01; done
jobs | sed 's/ \+/ /g'
kill -TERM %1; wait %1; echo "status $?"
{ sleep 1000 | cat; } &
kill -KILL %%; wait %%; echo "status $?"
(kill -TSTP $BASHPID; echo continued; exit 4) &
until [[ $(jobs -s | wc -l) = 1 ]]; do sleep 0.01; done
fg >/dev/null; echo "status $?"
[[ $(cut -d' ' -f5 /proc/$$/stat) != $(sh -c 'cut -d" " -f5 /proc/$$/stat') ]] && echo 'a group of its own'
coproc cat
echo through >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "$line"
exec {COPROC[1]}>&-; wait
echo >(cat >/dev/null) | grep -c /dev/fd
diff <(seq 1 1000) <(seq 1 1000) && echo same
shopt -s lastpipe
