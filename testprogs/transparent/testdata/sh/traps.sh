# Signals to the shell itself, to its children, and what wait says of them.
trap 'echo exit trap, status $?' EXIT
trap 'echo got USR1' USR1
kill -USR1 $$; kill -USR1 $$
for s in INT TERM HUP QUIT ALRM ABRT SEGV ILL BUS FPE TRAP; do
	trap "echo caught $s" "$s"; kill -"$s" $$; trap - "$s"
done
for s in HUP INT QUIT ILL TRAP ABRT BUS FPE KILL SEGV PIPE ALRM TERM USR1 USR2; do
	sh -c 'trap - INT; ulimit -c 0; kill -'$s' $$; echo survived' 2>/dev/null; echo "$s: status $?"
done
trap '' TERM
sh -c 'kill -TERM $$; echo TERM is ignored'
trap - TERM
sh -c 'trap "echo sub trap; exit 5" TERM; sh -c "kill -TERM \$PPID"; echo not reached'; echo "status $?"
background() { # a shell that has just forked may not have put its own traps off yet
	rm -f ready; sh -c 'echo >ready; exec sleep 1000' &
	until [ -e ready ]; do :; done; rm ready
}
background; kill -TERM $!; wait $! 2>/dev/null; echo "waited for $?"
background; kill -STOP $!; kill -CONT $!; kill -KILL $!; wait $! 2>/dev/null; echo "waited for $?"
(exit 3) & wait $!; echo "waited for $?"
for i in 1 2 3 4 5 6 7 8; do (exit $i) & done; wait; echo all
trap : USR2
(until [ -e stop ]; do kill -USR2 $$; sleep 0.02; done) & wait $!; echo "wait gave $?"
echo >stop; until wait $!; do :; done; rm stop
exit 6
